//! What the log tells, and what it never does.

use serde_json::{Value, json};

use crate::support::{Client, Home, OWNER, PASSWORD};

#[tokio::test]
async fn lines_are_json_with_the_ids_and_without_secrets() {
    let home = Home::seeded();
    // Verbose, so that what is never logged is not just below the level.
    let server = home.program(["serve"]).env("DEBUG", "true").start();
    let client = Client::owner(&server.url()).await;
    let request = client
        .request(reqwest::Method::POST, "/products")
        .header("x-request-id", "followed-through-systems")
        .json(&json!({"name": "Nombre Muy Privado", "sku": "PRIVADO-1", "description": "texto-del-cuerpo"}));
    let created = client.send(request).await.expect("an answer").expect(201);
    client
        .post(
            "/products",
            &json!({"name": "Nombre Muy Privado", "sku": "PRIVADO-1"}),
        )
        .await
        .expect(409);
    client
        .post(
            "/products",
            &json!({"name": "Nombre Muy Privado\u{0}", "sku": "PRIVADO-2"}),
        )
        .await
        .expect(422);
    client
        .get("/products?search=Nombre+Muy+Privado")
        .await
        .expect(200);
    let form = [("username", OWNER), ("password", "wrong-but-still-a-secret")];
    let wrong = client.request(reqwest::Method::POST, "/auth/login").form(&form);
    client.send(wrong).await.expect("an answer").expect(401);
    let form = [("username", OWNER), ("password", PASSWORD)];
    let login = Client::anonymous(&server.url());
    let login = login
        .send(login.request(reqwest::Method::POST, "/auth/login").form(&form))
        .await
        .expect("an answer")
        .json();
    let refresh_token = login["refresh_token"].as_str().expect("a token");
    client
        .post("/auth/refresh", &json!({"refresh_token": refresh_token}))
        .await
        .expect(200);
    let registration = json!({"email": "otra@example.com", "password": "una frase secreta", "profile": {"first_name": "Zoraida", "last_name": "X"}});
    client.post("/auth/register", &registration).await.expect(201);

    let key = json!({"name": "Llave", "permissions": ["products.read"]});
    let key = client.post("/company/api-keys", &key).await.expect(201).json();
    let api_key = key["token"].as_str().expect("a token");
    let mut machine = client.clone();
    for token in [api_key, &api_key[..79]] {
        token.clone_into(&mut machine.token);
        let expected = if token == api_key { 200 } else { 401 };
        machine.get("/products").await.expect(expected);
    }

    let id = created.json()["id"].as_str().expect("an id").to_owned();
    assert_eq!(client.get(&format!("/products/{id}")).await.status, 200);
    let log = server.stop().success().stderr;
    let lines: Vec<Value> = log
        .lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("not JSON: {line}")))
        .collect();
    assert!(
        lines
            .iter()
            .all(|line| line["timestamp"].is_string() && line["level"].is_string())
    );

    let user = login["user"]["id"].as_str().expect("an id");
    let answered: Vec<&Value> = lines
        .iter()
        .filter(|line| line["span"]["request.id"] == "followed-through-systems")
        .collect();
    let line = answered
        .iter()
        .find(|line| line["http.status"] == 201)
        .unwrap_or_else(|| panic!("no line: {log}"));
    let span = &line["span"];
    assert_eq!(span["tenant.id"], crate::support::COMPANY);
    assert_eq!(span["user.id"], user);
    assert_eq!(
        (&span["http.method"], &span["http.route"]),
        (&json!("POST"), &json!("/products"))
    );
    assert!(line["duration_us"].as_u64().is_some_and(|micros| micros > 0));

    let by_key = lines.iter().find(|line| line["span"]["api_key.id"] == key["id"]);
    assert_eq!(
        by_key.expect("its line")["span"]["tenant.id"],
        crate::support::COMPANY
    );

    let access_token = login["access_token"].as_str().expect("a token");
    let secrets = [
        PASSWORD,
        "wrong-but-still-a-secret",
        "una frase secreta",
        &client.token,
        access_token,
        refresh_token,
        // Whole or cut.
        &api_key[..79],
        "Nombre Muy Privado",
        "Nombre+Muy+Privado",
        "PRIVADO-1",
        "texto-del-cuerpo",
        "Zoraida",
        OWNER,
        "otra@example.com",
        &std::fs::read_to_string(home.data().join("secret")).expect("the secret"),
    ];
    for secret in secrets {
        assert!(
            !log.contains(secret),
            "{secret} is in the log: {:?}",
            log.lines().find(|line| line.contains(secret))
        );
    }
    // The database's own log names statements, not their parameters.
    let log = std::fs::read_to_string(home.data().join("postgres.log"))
        .expect("a log")
        .to_lowercase();
    for secret in [
        "nombre muy privado",
        "privado-",
        "texto-del-cuerpo",
        "una frase secreta",
        OWNER,
    ] {
        assert!(
            !log.contains(secret),
            "{secret} is in the database's log: {:?}",
            log.lines().find(|line| line.contains(secret))
        );
    }
}

/// As when the disk that takes the log is full.
#[test]
fn a_log_that_cannot_be_written_ends_nothing() {
    let home = Home::empty();
    let full = std::fs::OpenOptions::new()
        .write(true)
        .open("/dev/full")
        .expect("Linux");
    let ended = home.program(["demo", "seed"]).stderr(full).run().success();
    assert_eq!(ended.stdout, "the demo companies are there\n");
}
