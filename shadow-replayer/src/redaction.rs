//! The rules under which segments were recorded, with the configured key: what the candidate says is redacted by them, so that it
//! can be compared with the recording, and before any of it is written.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

use shadow_recorder::redact::{Key, Redactor, Rule};
use shadow_recorder::segment::Redaction;

use crate::RunError;
use crate::config::Config;
use crate::plan::Found;
use crate::production::header;
use crate::run::Evidence;

/// The rules met so far. Segments that were recorded under the same rules share what applies them.
#[derive(Clone, Debug, Default)]
pub struct Redactors {
    key: Option<Key>,
    known: Arc<Mutex<Vec<Known>>>,
}

type Known = (Redaction, Arc<Redactor>);

impl Redactors {
    /// Takes the configured key.
    pub fn new(key: Option<Key>) -> Self {
        Self { key, known: Arc::default() }
    }

    /// Returns what applies the rules of a segment's header; the error says what to configure.
    pub fn of(&self, redaction: &Redaction) -> Result<Arc<Redactor>, String> {
        // Nothing panics while it is locked.
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, redactor)) = known.iter().find(|(known, _)| known == redaction) {
            return Ok(Arc::clone(redactor));
        }
        let rules: Result<Vec<Rule>, _> = redaction.rules.iter().map(Rule::parse).collect();
        let rules = rules.map_err(|mistakes| {
            format!("a rule of redaction cannot be applied: {}", mistakes.join("; "))
        })?;
        if rules.iter().any(Rule::makes_tokens) {
            self.check_key(redaction.key_fingerprint.as_deref())?;
        }
        let redactor = Redactor::new(rules, self.key.clone()).map(Arc::new);
        let redactor = redactor.ok_or_else(|| MISSING.to_owned())?;
        known.push((redaction.clone(), Arc::clone(&redactor)));
        Ok(redactor)
    }

    fn check_key(&self, recorded: Option<&str>) -> Result<(), String> {
        let key = self.key.as_ref().ok_or_else(|| MISSING.to_owned())?;
        let (own, recorded) = (key.fingerprint(), recorded.unwrap_or("unknown"));
        if own == recorded {
            return Ok(());
        }
        Err(format!(
            "the configured redaction key (fingerprint {own}) is not the one of the recording (fingerprint {recorded}): set [redaction] key, or SHADOW_REDACTION_KEY, to the recorder's"
        ))
    }
}

const MISSING: &str = "values of the recording were replaced by tokens, and without their key nothing can be compared with them: set [redaction] key, or SHADOW_REDACTION_KEY, to the recorder's";

/// Refuses a range whose rules cannot be applied, before anything is replayed. A recorder's rules last as long as its boot, so one
/// segment of each is looked at.
pub(crate) async fn check(
    config: &Config,
    found: &Found,
    evidence: &Evidence,
) -> Result<(), RunError> {
    let frozen: BTreeSet<&str> = evidence.segments.iter().map(|segment| &*segment.key).collect();
    let frozen = found.manifests.iter().filter(|manifest| frozen.contains(&*manifest.segment));
    let boots: BTreeMap<_, _> =
        frozen.map(|manifest| ((&manifest.instance, &manifest.boot), manifest)).collect();
    for manifest in boots.into_values() {
        // One that cannot be read is reported where its exchanges are.
        let Some(header) = header(config, manifest).await else { continue };
        config.redactors.of(&header.redaction).map_err(RunError::Usage)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn recorded(key: Option<&Key>, rules: &str) -> Redaction {
        Redaction {
            rules: serde_json::from_str(rules).unwrap(),
            key_fingerprint: key.map(Key::fingerprint),
            ..Redaction::default()
        }
    }

    #[test]
    fn tokens_need_the_key_of_the_recording() {
        let (key, other) = (Key::new("the key"), Key::new("another key"));
        let tokens = recorded(Some(&key), r#"[{"query":"q","with":"token"}]"#);
        let redactors = Redactors::new(Some(key.clone()));
        let one = redactors.of(&tokens).unwrap();
        assert!(Arc::ptr_eq(&one, &redactors.of(&tokens).unwrap()), "made once");
        let missing = Redactors::new(None).of(&tokens).unwrap_err();
        assert!(missing.contains("set [redaction] key, or SHADOW_REDACTION_KEY"), "{missing}");
        let wrong = Redactors::new(Some(other.clone())).of(&tokens).unwrap_err();
        assert!(wrong.contains(&key.fingerprint()) && wrong.contains(&other.fingerprint()));
        let masks = recorded(Some(&key), r#"[{"query":"q","with":"mask"}]"#);
        assert!(Redactors::new(None).of(&masks).is_ok(), "a principal alone needs no key here");
        let unsound = recorded(None, r#"[{"json":"x","with":"mask"}]"#);
        assert!(Redactors::new(None).of(&unsound).is_err());
    }
}
