//! The logins, and a database that is ready for them: migrations applied, passwords set.

use anyhow::{Context, Result};
use sqlx::migrate::Migrator;
use sqlx::{AssertSqlSafe, PgConnection};

/// The migrations of the repository, as they were when this was built.
static MIGRATIONS: Migrator = sqlx::migrate!("../migrations");

/// Who logs in to Postgres and Redis.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Login {
    /// Whoever may do everything.
    Superuser,
    /// The API.
    Api,
    /// The invalidator.
    Invalidator,
    /// The warmer.
    Warmer,
}

impl Login {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Superuser, Self::Api, Self::Invalidator, Self::Warmer];

    /// Those of our processes: all but the superuser.
    pub const ROLES: [Self; 3] = [Self::Api, Self::Invalidator, Self::Warmer];

    /// Its name in Postgres. The roles are made by a migration.
    pub fn postgres_name(self) -> &'static str {
        match self {
            Self::Superuser => "postgres",
            Self::Api => "freshline_api",
            Self::Invalidator => "freshline_invalidator",
            Self::Warmer => "freshline_warmer",
        }
    }

    /// Its name in Redis, where the superuser is `default`.
    pub fn redis_name(self) -> &'static str {
        match self {
            Self::Superuser => "default",
            Self::Api | Self::Invalidator | Self::Warmer => self.postgres_name(),
        }
    }
}

/// Applies the migrations that are missing in the database of this connection, which has to be its owner's.
pub async fn migrate(connection: &mut PgConnection) -> Result<()> {
    MIGRATIONS.run(connection).await.context("applying the migrations")
}

/// Sets the password of a role, if the role exists. The migrations make roles without one.
pub async fn set_password(connection: &mut PgConnection, login: Login, password: &str) -> Result<()> {
    let role = login.postgres_name();
    // A password can't be a parameter: `alter role` wants a literal, and `format` makes one. No row where there is no role.
    let statement: Option<String> =
        sqlx::query_scalar("select format('alter role %I password %L', rolname, $2) from pg_roles where rolname = $1")
            .bind(role)
            .bind(password)
            .fetch_optional(&mut *connection)
            .await
            .with_context(|| format!("looking for the role {role}"))?;
    if let Some(statement) = statement {
        sqlx::raw_sql(AssertSqlSafe(statement))
            .execute(connection)
            .await
            .with_context(|| format!("setting the password of {role}"))?;
    }
    Ok(())
}
