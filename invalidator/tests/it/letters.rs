//! Dead letters that somebody wants tried again.

use freshline::dead_letters::{self, State};
use stage::Source;

use crate::{hands, shelf::Shelf};

stage::over_sources! { [nats: Nats, kafka: Kafka] [one_that_is_tried_again_is_done_once_it_can_be_used] }

async fn one_that_is_tried_again_is_done_once_it_can_be_used(source: Source) {
    let shelf = Shelf::new(source).await;
    let stage = &shelf.house.stage;
    let is = async |state: State, attempts: i32| {
        let mut connection = stage.pool().acquire().await.expect("a connection");
        let kept = dead_letters::list(&mut connection, Some(state), 9).await.expect("the letters");
        matches!(&*kept, [letter] if letter.attempts == attempts && letter.reason.contains("later"))
    };
    let retry = async || {
        let mut connection = stage.pool().acquire().await.expect("a connection");
        assert_eq!(dead_letters::retry(&mut connection, None).await.expect("asked").len(), 1);
    };
    let xid: String = stage.value("select pg_current_xact_id()::text").await;
    let value = format!(r#"{{"op":"c","after":{{"id":7}},"source":{{"schema":"public","table":"later","txId":{xid},"lsn":9}}}}"#);
    hands::publish(&shelf.house, br#"{"id":7}"#, value.as_bytes()).await;
    stage.until("it is kept", async || is(State::New, 1).await).await;
    retry().await;
    stage.until("it was tried in vain", async || is(State::New, 2).await).await;

    stage.sql("create table later (id int primary key)").await;
    retry().await;
    stage.until("it was tried and worked", async || is(State::Done, 3).await).await;
    shelf.assert_alive().await;
}
