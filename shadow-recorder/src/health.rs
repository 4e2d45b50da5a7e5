//! The parts without which a recorder is no recorder: its writer and its listeners. Where one fails, the others go on, and `/live` says so.

use std::sync::{Arc, Mutex, PoisonError};

/// Which parts failed.
#[derive(Debug, Default)]
pub(crate) struct Health {
    failed: Mutex<Vec<String>>,
}

impl Health {
    /// Says that a part failed.
    pub(crate) fn failed(&self, part: &str) {
        tracing::error!(
            part,
            "a part of the recorder failed for good; traffic passes on without it"
        );
        self.failed.lock().unwrap_or_else(PoisonError::into_inner).push(part.to_owned());
    }

    /// Returns the parts that failed.
    pub(crate) fn failures(&self) -> Vec<String> {
        self.failed.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Runs a part; its panic is its failure.
    pub(crate) async fn watch(self: Arc<Self>, part: String, task: impl Future<Output = ()>) {
        let _guard = Guard { health: self, part };
        task.await;
    }
}

struct Guard {
    health: Arc<Health>,
    part: String,
}

impl Drop for Guard {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.health.failed(&self.part);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_part_that_panics_failed_and_one_that_ends_did_not() {
        let health = Arc::new(Health::default());
        Arc::clone(&health).watch("admin".into(), async {}).await;
        let panics = async { panic!("a fault that a test asked for") };
        let task = tokio::spawn(Arc::clone(&health).watch("clients".into(), panics));
        assert!(task.await.unwrap_err().is_panic());
        assert_eq!(health.failures(), ["clients"]);
    }
}
