//! The conformance suite: what holds wherever changes come from, once for each source. A test's body is written once, and knows of
//! its source only by what [`stage::Feed`] and [`crate::hands`] do for it.

mod changes;
mod deliveries;
mod holes;
mod large;

/// Makes a test of each of these bodies for each of these sources, in a module of the source's name: tests that need a broker
/// are left out by their names where none can be had.
macro_rules! over {
    ($sources:tt $bodies:tt) => { $crate::suite::over! { @ $sources $bodies } };
    (@ [$($module:ident: $source:ident),* $(,)?] $bodies:tt) => {
        $($crate::suite::over! { @one $module $source $bodies })*
    };
    (@one $module:ident $source:ident [$($body:ident),* $(,)?]) => {
        mod $module {
            $(
                #[tokio::test]
                async fn $body() {
                    super::$body(stage::Source::$source).await;
                }
            )*
        }
    };
}

pub(crate) use over;
