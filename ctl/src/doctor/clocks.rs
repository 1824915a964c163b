//! The clocks. Nothing is ordered by them, so that none has to be right; but whoever compares logs wants to know.

use std::time::Duration;

use super::Finding;
use crate::{
    paint,
    servers::{Servers, Trouble},
};

/// How far two clocks may be apart before it is told.
const OFFSET_MAX: Duration = Duration::from_secs(1);

/// Looks at the clocks of Redis and Postgres.
///
/// # Errors
/// Where one of them cannot be asked.
pub async fn look(servers: &Servers) -> Result<Vec<Finding>, Trouble> {
    let link = servers.redis().await?;
    let mut connection = servers.postgres().await?;
    let before = link.time().await.map_err(|source| servers.no_redis(source))?;
    let sql = "select (extract(epoch from clock_timestamp()) * 1000000)::int8";
    let postgres: i64 = servers.asked(sqlx::query_scalar(sql).fetch_one(&mut connection)).await?;
    let after = link.time().await.map_err(|source| servers.no_redis(source))?;
    let postgres = u64::try_from(postgres).unwrap_or(0);
    // Between the two readings of Redis's clock Postgres's was read: outside of them is the offset.
    let ahead = postgres.saturating_sub(after.as_micros());
    let behind = before.as_micros().saturating_sub(postgres);
    Ok(vec![finding(ahead, behind)])
}

fn finding(ahead: u64, behind: u64) -> Finding {
    let (offset, word) = if ahead > behind { (ahead, "ahead of") } else { (behind, "behind") };
    if offset <= OFFSET_MAX.as_micros() as u64 {
        return Finding::ok("offset", format!("Postgres and Redis agree within {} ms", OFFSET_MAX.as_millis()));
    }
    Finding::note(
        "offset",
        format!("Postgres is {} {word} Redis; nothing depends on it but who compares logs", paint::micros(offset)),
        "let both machines follow one time service",
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::Level;

    #[test]
    fn clocks_that_are_apart_are_told_with_the_direction() {
        assert_eq!(finding(0, 900_000).level, Level::Ok);
        let hour = finding(3_600_000_000, 0);
        assert!(hour.level == Level::Note && hour.says.contains("3600 s ahead of"), "{hour:?}");
        assert!(finding(0, 2_000_000).says.contains("behind Redis"));
    }
}
