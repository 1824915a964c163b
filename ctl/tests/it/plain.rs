//! What needs no server: completions, settings, and a word that is none.

use stage::{Launch, workspace_binary};

use crate::house::{Ran, ended};

async fn run(arguments: &[&str]) -> Ran {
    let launch = Launch::new("freshline", workspace_binary("freshline").expect("it is built"));
    ended(arguments.iter().fold(launch, |launch, argument| launch.argument(*argument))).await
}

#[rstest::rstest]
#[case::bash("bash")]
#[case::zsh("zsh")]
#[case::fish("fish")]
#[tokio::test]
async fn a_completion_script_knows_every_command(#[case] shell: &str) {
    let ran = run(&["completions", shell]).await;
    assert_eq!(ran.code, Some(0), "{}", ran.text);
    for command in ["status", "doctor", "explain", "watch", "dead-letters", "completions"] {
        assert!(ran.text.contains(command), "{shell} does not know {command}");
    }
}

#[tokio::test]
async fn a_missing_variable_is_named_with_its_remedy() {
    let ran = run(&["status"]).await;
    assert_eq!(ran.code, Some(2), "{}", ran.text);
    for said in ["FRESHLINE_DATABASE_URL", "FRESHLINE_REDIS_URL", "is not set"] {
        assert!(ran.text.contains(said), "not said: {said}\n{}", ran.text);
    }
}

#[tokio::test]
async fn a_word_that_is_no_command_is_refused() {
    assert_eq!(run(&["statsu"]).await.code, Some(2));
}
