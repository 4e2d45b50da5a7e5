//! Waits for a database that restarts. A statement whose answer was lost may have been carried out: what is repeated here recognises
//! its own earlier success, or changes nothing the second time.

use std::time::{Duration, Instant};

use sqlx::Error;

/// The first pause; each further one is twice as long …
const PAUSE_MIN: Duration = Duration::from_millis(50);
/// … up to this.
const PAUSE_MAX: Duration = Duration::from_secs(2);

/// Repeats a step until it succeeds, fails for good, or `patience` is over.
pub(super) async fn patiently<T>(
    patience: Duration,
    step: impl AsyncFn() -> Result<T, Error>,
) -> Result<T, Error> {
    let began = Instant::now();
    let mut pause = PAUSE_MIN;
    loop {
        match step().await {
            Err(error) if passes(&error) && began.elapsed() < patience => {
                tracing::warn!("the run store does not answer, it is asked again: {error}");
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(PAUSE_MAX);
            }
            done => return done,
        }
    }
}

/// Returns whether an error is the database's absence and not its answer.
pub(super) fn passes(error: &Error) -> bool {
    match error {
        Error::Io(_) | Error::Protocol(_) | Error::PoolTimedOut | Error::WorkerCrashed => true,
        Error::Database(error) => error.code().is_some_and(|code| is_absence(&code)),
        _ => false,
    }
}

/// Classes 08 (connection), 53 (too many of them) and 57P (the server stops or starts), and what lost against another transaction, of
/// PostgreSQL; busy and locked of SQLite.
fn is_absence(code: &str) -> bool {
    let postgres = ["08", "53", "57P", "40001", "40P01"];
    let sqlite = code.parse::<u32>().is_ok_and(|code| matches!(code & 0xff, 5 | 6));
    code.len() == 5 && postgres.iter().any(|class| code.starts_with(class))
        || code.len() < 5 && sqlite
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;

    #[test]
    fn a_restart_passes_and_a_wrong_statement_does_not() {
        for code in ["57P01", "57P03", "08006", "53300", "40001", "5", "261", "6"] {
            assert!(is_absence(code), "{code}");
        }
        for code in ["42601", "23505", "1", "19", "1555", "3D000"] {
            assert!(!is_absence(code), "{code}");
        }
    }

    #[tokio::test]
    async fn a_step_is_repeated_while_the_database_is_away() {
        let tries = Cell::new(0);
        let step = async || {
            tries.set(tries.get() + 1);
            if tries.get() < 3 { Err(Error::PoolTimedOut) } else { Ok(tries.get()) }
        };
        assert_eq!(patiently(Duration::from_mins(1), step).await.unwrap(), 3);
        let step = async || Err::<(), _>(Error::PoolTimedOut);
        assert!(patiently(Duration::ZERO, step).await.is_err());
        let tries = Cell::new(0);
        let step = async || {
            tries.set(tries.get() + 1);
            Err::<(), _>(Error::RowNotFound)
        };
        assert!(patiently(Duration::from_mins(1), step).await.is_err());
        assert_eq!(tries.get(), 1, "an answer is an answer");
    }
}
