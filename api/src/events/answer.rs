//! `GET /events`.

use std::{convert::Infallible, sync::Arc, time::Duration};

use axum::{
    extract::State,
    response::{
        IntoResponse, Response,
        sse::{Event, KeepAlive, Sse},
    },
};
use freshline::coherence::LinkError;
use futures::{StreamExt, stream};
use http::{HeaderValue, header};
use tokio::time::timeout;

use super::{Events, LOOK_WITHIN, Trail, asked::Asked, listener::Listener};
use crate::{
    manage::away,
    openapi::{ListenParams, Listened, OfListening},
    problem::{Problem, Subject},
};

/// When a listener whose connection ended comes back, unless it knows better.
const AGAIN_AFTER: Duration = Duration::from_secs(1);

/// How often a listener hears that the connection lives, while nothing happens: below what proxies wait, which is half a minute or more.
const ALIVE_EVERY: Duration = Duration::from_secs(15);

/// Listen to what is done
///
/// Server-sent events, without an end: what the invalidators do, as they have done it, and with `processes=true` each second which
/// processes run, with their figures. A listener that comes back with `Last-Event-ID` hears what it missed, as far as the trail has it.
#[utoipa::path(
    get,
    path = "/events",
    tag = "management",
    params(ListenParams),
    responses(Listened, OfListening),
    security(("token" = []))
)]
pub async fn events(State(events): State<Arc<Events>>, asked: Asked) -> Result<Response, Problem> {
    let listener = Listener::new(&events, asked)
        .map_err(|full| Problem::passing(Subject::Listeners, "Come again when somebody has left.", &full))?;
    events.read().await.map_err(|error| away(&error))?;
    let lost = listener.lost().await.map_err(|error| away(&error))?;
    let begun = stream::iter([Some(Event::default().retry(AGAIN_AFTER)), lost].into_iter().flatten());
    let heard = stream::unfold(listener, async |mut listener| Some((listener.next().await?, listener)));
    let ending = events.ending.clone();
    let heard = begun.chain(heard).take_until(async move { ending.cancelled().await }).map(Ok::<_, Infallible>);
    let mut response = Sse::new(heard).keep_alive(KeepAlive::new().interval(ALIVE_EVERY)).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    // Proxies that collect answers before they pass them on: nginx, and those that heed its header.
    headers.insert("x-accel-buffering", HeaderValue::from_static("no"));
    Ok(response)
}

impl Events {
    /// Waits until the trail is read, so that whatever is done from now on is heard.
    async fn read(&self) -> Result<(), LinkError> {
        let mut trail = self.trail.subscribe();
        match timeout(LOOK_WITHIN, trail.wait_for(|trail| *trail != Trail::Unread)).await {
            Ok(Ok(trail)) if *trail == Trail::Read => Ok(()),
            Ok(_) | Err(_) => Err(LinkError::Down(None)),
        }
    }
}
