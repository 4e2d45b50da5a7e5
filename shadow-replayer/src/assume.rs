//! Upstream calls that a candidate makes and production did not, declared as legitimate, with the answer that they get. Pure.

use std::borrow::Cow;

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use serde_json::Value;
use serde_json_path::JsonPath;
use shadow_recorder::exchange::{Request, Response};
use shadow_recorder::ledger::Route;

/// One `[[replay.assume]]`.
#[derive(Clone, Debug)]
pub struct Assumption {
    /// The upstream that is called.
    pub upstream: String,
    /// The method and path.
    pub route: Route,
    /// What values of the JSON body must be, beside; a number as it is written.
    pub conditions: Vec<(JsonPath, String)>,
    /// The answer.
    pub response: Response,
    /// Why the call is legitimate.
    pub reason: String,
    /// Who says so.
    pub owner: String,
    /// The last day on which that holds.
    pub expires: Date,
}

impl Assumption {
    /// Returns whether it is about this call.
    pub fn is_about(&self, upstream: &str, call: &Request) -> bool {
        if self.upstream != upstream || !self.route.matches(&call.method, call.path()) {
            return false;
        }
        if self.conditions.is_empty() {
            return true;
        }
        let text = call.body.text.as_deref().unwrap_or("");
        let Ok(body) = serde_json::from_str::<Value>(text) else { return false };
        self.conditions.iter().all(|(path, expected)| {
            path.query(&body).exactly_one().is_ok_and(|value| {
                let text = match value {
                    Value::String(text) => Cow::from(text),
                    value => value.to_string().into(),
                };
                text == **expected
            })
        })
    }

    /// Returns whether its last day, in UTC, is over.
    pub fn is_expired(&self, now: Timestamp) -> bool {
        now.to_zoned(TimeZone::UTC).date() > self.expires
    }
}

/// Finds the first assumption about a call.
pub fn find<'a>(
    assumptions: &'a [Assumption],
    upstream: &str,
    call: &Request,
) -> Option<&'a Assumption> {
    assumptions.iter().find(|assumption| assumption.is_about(upstream, call))
}

/// Returns what to do about the expired ones; nothing where there are none.
pub fn expired(assumptions: &[Assumption], now: Timestamp) -> Option<String> {
    let expired = assumptions.iter().filter(|assumption| assumption.is_expired(now));
    let expired: Vec<String> = expired
        .map(|assumption| {
            let Assumption { upstream, route, owner, expires, .. } = assumption;
            format!(
                "[[replay.assume]] {route} of upstream {upstream} expired on {expires}: ask {owner} whether it still holds, then set another `expires`, or remove it"
            )
        })
        .collect();
    (!expired.is_empty()).then(|| expired.join("; "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use shadow_recorder::exchange::Body;

    fn assumption(conditions: &[(&str, &str)]) -> Assumption {
        let condition =
            |(path, value): &(&str, &str)| (JsonPath::parse(path).unwrap(), (*value).to_owned());
        Assumption {
            upstream: "tax".into(),
            route: Route::parse("POST /quotes/*").unwrap(),
            conditions: conditions.iter().map(condition).collect(),
            response: Response {
                status: 200,
                headers: vec![],
                body: Body::of_text("{}"),
                trailers: vec![],
            },
            reason: "new levy".into(),
            owner: "tax-team".into(),
            expires: "2026-06-30".parse().unwrap(),
        }
    }

    fn call(target: &str, body: &str) -> Request {
        Request {
            method: "POST".into(),
            target: target.into(),
            version: "HTTP/1.1".into(),
            headers: vec![],
            body: Body::of_text(body),
            trailers: vec![],
            principal: None,
        }
    }

    #[test]
    fn an_assumption_is_about_its_upstream_its_route_and_its_conditions() {
        let any = assumption(&[]);
        assert!(any.is_about("tax", &call("/quotes/7?x=1", "no JSON")));
        assert!(!any.is_about("fx", &call("/quotes/7", "")));
        assert!(!any.is_about("tax", &call("/quotes", "")));
        let some = assumption(&[("$.kind", "levy"), ("$.rate", "1.10")]);
        assert!(some.is_about("tax", &call("/quotes/7", r#"{"kind":"levy","rate":1.10}"#)));
        for body in [r#"{"kind":"levy","rate":1.1}"#, r#"{"rate":1.10}"#, "", "[]"] {
            assert!(!some.is_about("tax", &call("/quotes/7", body)), "{body}");
        }
    }

    #[test]
    fn it_holds_through_its_last_day() {
        let one = [assumption(&[])];
        assert_eq!(expired(&one, "2026-06-30T23:59:59Z".parse().unwrap()), None);
        let told = expired(&one, "2026-07-01T00:00:00Z".parse().unwrap()).unwrap();
        assert!(told.contains("POST /quotes/* of upstream tax expired on 2026-06-30"), "{told}");
    }
}
