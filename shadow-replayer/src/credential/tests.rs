use super::*;

fn issue(source: Source, per_principal: bool) -> Credentials {
    Credentials::new(Issue {
        source,
        per_principal,
        header: http::header::AUTHORIZATION,
        prefix: "Bearer ".into(),
        lifetime: Duration::from_mins(5),
        timeout: Duration::from_secs(5),
        at_once_max: 2,
    })
}

fn shell(script: &str) -> Source {
    let arguments = vec!["-c".into(), script.into()];
    Source::Command(command::Command { program: "sh".into(), arguments })
}

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

async fn value(credentials: &Credentials, principal: &str, second: i64) -> Result<String, String> {
    let field = credentials.of(Some(principal), at(second)).await?;
    Ok(field.unwrap().1.to_str().unwrap().to_owned())
}

#[tokio::test]
async fn a_command_is_asked_once_for_each_principal_until_the_credential_expires() {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("log");
    let log = log.to_str().unwrap();
    let credentials = issue(shell(&format!("read p; echo $p >> {log}; echo for-$p")), true);
    assert_eq!(value(&credentials, "alice", 0).await.unwrap(), "Bearer for-alice");
    assert_eq!(value(&credentials, "bob", 0).await.unwrap(), "Bearer for-bob");
    assert_eq!(value(&credentials, "alice", 290).await.unwrap(), "Bearer for-alice");
    assert_eq!(std::fs::read_to_string(log).unwrap(), "alice\nbob\n");
    assert_eq!(value(&credentials, "alice", 296).await.unwrap(), "Bearer for-alice");
    assert_eq!(std::fs::read_to_string(log).unwrap(), "alice\nbob\nalice\n");
    assert_eq!(credentials.of(None, at(0)).await, Ok(None), "production had no credential either");
}

#[tokio::test]
async fn many_at_once_wait_for_one_fetch() {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("log");
    let log = log.to_str().unwrap();
    let credentials = issue(shell(&format!("read p; echo x >> {log}; echo token")), false);
    let all = (0..20).map(|n| value(&credentials, if n % 2 == 0 { "a" } else { "b" }, 0));
    let all = futures_util::future::join_all(all).await;
    assert!(all.iter().all(|value| value.as_deref() == Ok("Bearer token")));
    assert_eq!(std::fs::read_to_string(log).unwrap(), "x\n");
}

#[tokio::test]
async fn what_a_failing_command_printed_is_not_repeated() {
    let why = value(&issue(shell("echo s3cret; exit 3"), true), "a", 0).await.unwrap_err();
    assert!(why.contains("exit status: 3") && !why.contains("s3cret"), "{why}");
    let why = value(&issue(shell("true"), true), "a", 0).await.unwrap_err();
    assert!(why.contains("printed 0 bytes"), "{why}");
    let slow = Credentials::new(Issue {
        timeout: Duration::from_millis(50),
        ..issue(shell("sleep 9"), true).issue
    });
    let why = value(&slow, "a", 0).await.unwrap_err();
    assert!(why.contains("longer than 50ms"), "{why}");
}

#[tokio::test]
async fn a_token_is_signed_for_each_principal_with_the_times_of_the_clock() {
    use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode};
    let claims = [("sub", "{principal}"), ("aud", "books")];
    let claims = claims.map(|(name, value)| (name.to_owned(), value.to_owned()));
    let key = jwt::key(Algorithm::HS256, "k").unwrap();
    let signing = jwt::Signing {
        algorithm: Algorithm::HS256,
        key,
        key_id: Some("test".into()),
        claims: claims.into(),
    };
    let credentials = issue(Source::Jwt(Box::new(signing)), true);
    let token = value(&credentials, "shadow:alice", 1_000).await.unwrap();
    let token = token.strip_prefix("Bearer ").unwrap();
    let mut validation = Validation::new(Algorithm::HS256);
    validation.set_audience(&["books"]);
    validation.validate_exp = false;
    let read = decode::<serde_json::Value>(token, &DecodingKey::from_secret(b"k"), &validation);
    let read = read.unwrap();
    assert_eq!(read.claims["sub"], "shadow:alice");
    assert_eq!(
        (read.claims["iat"].as_i64(), read.claims["exp"].as_i64()),
        (Some(1_000), Some(1_300))
    );
    assert_eq!(read.header.kid.as_deref(), Some("test"));
    assert!(jwt::key(Algorithm::RS256, "not a key").is_err());
}
