//! What has to hold before the first change is read: the server, the publication, the tables, held against the rules.

use std::fmt;

use sqlx::{Connection, PgConnection};

use crate::{
    fault::{Classified, Kind},
    primary::{is_for_good, remedy_for_good},
    replication::{Follower, ReplicationError, StreamSettings, preflight},
    rules::{LiveSchema, Rules, SchemaUnread},
};

/// Why changes cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum NotReady {
    /// The server could not be asked.
    #[error("the primary cannot be asked")]
    Unreachable(#[source] sqlx::Error),
    /// It was asked, and did not answer as expected.
    #[error("the primary's settings cannot be read")]
    Settings(#[source] ReplicationError),
    /// The tables could not be read.
    #[error("the tables cannot be read")]
    Schema(#[source] SchemaUnread),
    /// Things that somebody has to mend.
    #[error("{} to mend before the invalidator can start:\n{}", .0.len(), Listed(.0))]
    Findings(Vec<Problem>),
}

/// One thing to mend, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// What is wrong.
    pub problem: String,
    /// The statement or setting that mends it.
    pub remedy: String,
}

/// Problems, one a line, as an error shows them.
struct Listed<'a>(&'a [Problem]);

impl fmt::Display for Listed<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for Problem { problem, remedy } in self.0 {
            write!(f, "  - {problem}\n    remedy: {remedy}\n")?;
        }
        Ok(())
    }
}

impl Classified for NotReady {
    fn kind(&self) -> Kind {
        match self {
            Self::Unreachable(error) if is_for_good(error) => Kind::Permanent,
            Self::Unreachable(_) => Kind::Transient,
            Self::Settings(error) => error.kind(),
            Self::Schema(error) => error.kind(),
            Self::Findings(_) => Kind::Permanent,
        }
    }

    fn remedy(&self) -> Option<String> {
        match self {
            Self::Unreachable(error) if is_for_good(error) => {
                Some(remedy_for_good(error, "check user, password and database in FRESHLINE_DATABASE_URL"))
            }
            Self::Settings(error) => error.remedy(),
            Self::Schema(error) => error.remedy(),
            Self::Unreachable(_) | Self::Findings(_) => None,
        }
    }
}

/// Looks at the server and its tables, for the role of these settings, which reads the slot or does not.
///
/// # Errors
/// [`NotReady`], with all that has to be mended at once.
pub async fn check(settings: &StreamSettings, rules: &Rules, has_slot: bool) -> Result<(), NotReady> {
    let follower = Follower { role: None, has_slot };
    let mut connection = connect(settings).await?;
    let problems = problems(&mut connection, settings, rules, follower).await?;
    connection.close().await.map_err(NotReady::Unreachable)?;
    if problems.is_empty() { Ok(()) } else { Err(NotReady::Findings(problems)) }
}

/// An SQL connection to the server of a stream, made within its deadline.
///
/// # Errors
/// [`NotReady::Unreachable`].
async fn connect(settings: &StreamSettings) -> Result<PgConnection, NotReady> {
    let connecting = PgConnection::connect_with(&settings.server);
    let connected = tokio::time::timeout(settings.answer_deadline, connecting).await;
    connected.unwrap_or_else(|elapsed| Err(sqlx::Error::Io(elapsed.into()))).map_err(NotReady::Unreachable)
}

/// Everything that has to be mended before `follower` can follow this stream.
///
/// # Errors
/// [`NotReady`] where it could not be looked at.
pub async fn problems(
    connection: &mut PgConnection,
    settings: &StreamSettings,
    rules: &Rules,
    follower: Follower<'_>,
) -> Result<Vec<Problem>, NotReady> {
    let mut problems: Vec<Problem> = preflight(connection, settings, follower)
        .await
        .map_err(NotReady::Settings)?
        .into_iter()
        .map(|finding| Problem { problem: finding.problem, remedy: finding.remedy })
        .collect();
    problems.extend(missing_function(connection, follower.role).await?);
    let is_published = |schema: &LiveSchema| schema.publication.is_some_and(|publication| publication.every_operation);
    let schema = LiveSchema::read(connection, &settings.publication, rules).await.map_err(NotReady::Schema)?;
    // What is wrong with the publication itself has been told above.
    let findings = rules.validate(&schema).into_iter().filter(|finding| finding.table.is_some() || is_published(&schema));
    problems.extend(findings.map(|finding| Problem { problem: finding.to_string(), remedy: finding.remedy }));
    Ok(problems)
}

/// The function that tells the source's identity.
async fn missing_function(connection: &mut PgConnection, role: Option<&str>) -> Result<Option<Problem>, NotReady> {
    let statement =
        "select coalesce(has_function_privilege(coalesce($1, current_user), to_regprocedure('freshline.source()'), 'execute')
                            and has_schema_privilege(coalesce($1, current_user), 'freshline', 'usage'), false)";
    let may_call: bool = match sqlx::query_scalar(statement).bind(role).fetch_one(connection).await {
        Ok(may_call) => may_call,
        Err(sqlx::Error::Database(_)) => false, // no schema of that name
        Err(error) => return Err(NotReady::Unreachable(error)),
    };
    Ok((!may_call).then(|| Problem {
        problem: "the function freshline.source() is missing, or the invalidator's role may not call it".into(),
        remedy: "apply the migrations; or grant usage on schema freshline to it, and execute on function freshline.source()".into(),
    }))
}
