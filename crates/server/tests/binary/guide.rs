//! The commands that the guide prints, typed as they stand there.

use std::process::Command;

use serde_json::Value;

use crate::support::Home;

/// "Usage Examples, 1. Making API Requests" of the implementation guide.
const GUIDE: &str = r#"
### 1. Making API Requests

All business endpoints require the `X-Company-ID` header:

```bash
# Login (no tenant required)
curl -X POST "http://localhost:8000/auth/login" \
  -H "Content-Type: application/x-www-form-urlencoded" \
  -d "username=user@example.com&password=password123"

# Use token and company ID for business operations
curl -X GET "http://localhost:8000/products/" \
  -H "Authorization: Bearer YOUR_JWT_TOKEN" \
  -H "X-Company-ID: 550e8400-e29b-41d4-a716-446655440000"
```
"#;

/// Runs a command of the guide; status and body.
fn run(script: &str) -> (String, Value) {
    // What curl is told besides stands outside the command.
    let curl = r#"curl() { command curl --silent --noproxy '*' --write-out '\n%{http_code}' "$@"; }"#;
    let output = Command::new("bash")
        .args(["-euc", &format!("{curl}\n{script}")])
        .output()
        .expect("bash");
    assert!(output.status.success(), "{output:?}");
    let text = String::from_utf8(output.stdout).expect("text");
    let (body, status) = text.rsplit_once('\n').expect("a status");
    (status.to_owned(), serde_json::from_str(body).expect("JSON"))
}

#[test]
fn the_commands_of_the_guide_work_as_printed() {
    let home = Home::seeded();
    let server = home.program(["dev"]).start();
    let block = GUIDE
        .split("```bash\n")
        .nth(1)
        .and_then(|rest| rest.split("```").next())
        .expect("a bash block");
    assert_eq!(block.matches("http://localhost:8000").count(), 2);
    let block = block.replace("http://localhost:8000", &server.url());
    let (login, products) = block.split_once("\n\n").expect("two commands");

    let (status, signed_in) = run(login);
    assert_eq!(status, "200");
    let token = signed_in["access_token"].as_str().expect("a token");
    assert_eq!(signed_in["token_type"], "bearer");
    assert_eq!(signed_in["expires_in"], 1800);
    assert!(
        signed_in["refresh_token"]
            .as_str()
            .is_some_and(|token| token.len() >= 32)
    );
    assert_eq!(signed_in["user"]["email"], "user@example.com");
    assert_eq!(
        signed_in["companies"][0]["company_id"],
        "550e8400-e29b-41d4-a716-446655440000"
    );

    assert_eq!(products.matches("YOUR_JWT_TOKEN").count(), 1);
    let (status, page) = run(&products.replace("YOUR_JWT_TOKEN", token));
    assert_eq!(status, "200");
    assert_eq!(page["items"].as_array().map(Vec::len), Some(20));
    assert!(page["items"][0]["name"].is_string(), "{page}");

    // The token is what opened the door.
    let (status, problem) = run(products);
    assert_eq!(
        (status.as_str(), &problem["code"]),
        ("401", &Value::from("unauthenticated"))
    );
}
