//! What obeys the settings.

use std::time::Duration;

use serde_json::json;
use testkit::{Client, TestApp};

use super::PATH;
use crate::app;
use crate::files::support::{EICAR, execute, store, text, tidy};

fn upload(module: &str, content_type: &str, size: i64) -> serde_json::Value {
    let extension = content_type.rsplit('/').next().expect("a type");
    json!({"filename": format!("a.{extension}"), "module": module, "content_type": content_type, "size": size})
}

#[tokio::test]
async fn uploads_are_narrowed_by_type_and_size_per_module() {
    let t = app().await;
    let (a, b) = (t.tenant("a").await, t.tenant("b").await);
    let narrower = json!({"files": {
        "products": {"content_types": ["image/webp"], "max_bytes": 1000},
        "other": {"content_types": []},
    }});
    a.patch(PATH, narrower).await.ok();
    let presign = "/files/upload/presign";
    a.post(presign, upload("products", "image/webp", 1000))
        .await
        .created();
    a.post(presign, upload("products", "image/webp", 1001))
        .await
        .problem(422, "file-too-large");
    a.post(presign, upload("products", "image/png", 10))
        .await
        .problem(422, "file-type-not-allowed");
    a.post(presign, upload("companies", "image/png", 2000))
        .await
        .created();
    a.post(presign, upload("invoices", "application/pdf", 10))
        .await
        .problem(422, "file-type-not-allowed");
    // Without a size the limit is what is reserved.
    let mut open = upload("products", "image/webp", 1);
    open.as_object_mut().expect("an object").remove("size");
    assert_eq!(a.post(presign, open).await.created().json["max_size"], 1000);

    b.post(presign, upload("products", "image/png", 2000))
        .await
        .created();
    b.post(presign, upload("invoices", "application/pdf", 10))
        .await
        .created();
    a.patch(PATH, json!({"files": null})).await.ok();
    a.post(presign, upload("products", "image/png", 2000))
        .await
        .created();
}

#[tokio::test]
async fn invitations_are_in_the_companys_language_unless_they_name_one() {
    let t = app().await;
    let owner = t.tenant("a").await;
    let invited = async |email: &str, language: Option<&str>| {
        let mut body = json!({"email": email, "role": "seller"});
        if let Some(language) = language {
            body["language"] = language.into();
        }
        let answer = owner.post("/auth/invite-user", body).await.created();
        t.run_jobs().await;
        let mail = t.mail_to(email).await.remove(0);
        (
            answer.json["language"].clone(),
            mail.headers.contains("Content-Language: en"),
        )
    };
    assert_eq!(invited("a@example.com", None).await, (json!("es"), false));
    owner.patch(PATH, json!({"language": "en"})).await.ok();
    assert_eq!(invited("b@example.com", None).await, (json!("en"), true));
    assert_eq!(invited("c@example.com", Some("es")).await, (json!("es"), false));
}

/// Who got a mail of this kind, in the order of their addresses.
async fn told(t: &TestApp, letter: &str) -> Vec<String> {
    let mut told: Vec<String> = t
        .mail()
        .await
        .into_iter()
        .filter(|mail| mail.letter == letter)
        .map(|mail| mail.address)
        .collect();
    told.sort_unstable();
    told
}

/// A company's owner, and the addresses of an administrator and a seller.
async fn staff(t: &TestApp) -> (Client, String) {
    let owner = t.tenant("ana").await;
    let admin = t.member(&owner, "admin").await;
    t.member(&owner, "seller").await;
    (owner, admin.email)
}

#[tokio::test]
async fn whom_the_company_chooses_is_told_of_malware_in_its_time() {
    let t = app().await;
    let (owner, admin) = staff(&t).await;
    // It is told once an hour.
    let upload = async || {
        execute(
            &t,
            "update ally.malware_alarms set told_at = told_at - interval '2 hours'",
        )
        .await;
        store(&t, &owner, text("virus.txt"), EICAR).await;
    };
    let letter = "malware-found";
    upload().await;
    assert_eq!(told(&t, letter).await, std::slice::from_ref(&owner.email));
    let mail = t.mail_to(&owner.email).await.remove(0);
    assert!(mail.text.contains("(hora de Colombia)"), "{}", mail.text);

    let change = json!({"notifications": {"infected_file": "managers"}, "time_zone": "America/Lima"});
    owner.patch(PATH, change).await.ok();
    upload().await;
    let mut expected = vec![admin, owner.email.clone(), owner.email.clone()];
    expected.sort_unstable();
    assert_eq!(told(&t, letter).await, expected);
    let mail = t.mail_to(&owner.email).await.remove(1);
    assert!(mail.text.contains("(America/Lima)"), "{}", mail.text);

    owner
        .patch(PATH, json!({"notifications": {"infected_file": "nobody"}}))
        .await
        .ok();
    upload().await;
    assert_eq!(told(&t, letter).await.len(), 3);
}

#[tokio::test]
async fn little_room_is_told_once_when_it_becomes_little() {
    let t = app().await;
    let (owner, _) = staff(&t).await;
    owner
        .patch(PATH, json!({"notifications": {"storage_nearly_full": "owners"}}))
        .await
        .ok();
    store(&t, &owner, text("a.txt"), "x".repeat(800)).await;
    execute(&t, "update ally.storage_usage set quota_bytes = 1000").await;
    assert!(told(&t, "storage-nearly-full").await.is_empty());
    store(&t, &owner, text("b.txt"), "x".repeat(110)).await;
    assert_eq!(
        told(&t, "storage-nearly-full").await,
        std::slice::from_ref(&owner.email)
    );
    store(&t, &owner, text("c.txt"), "x".repeat(10)).await;
    assert_eq!(told(&t, "storage-nearly-full").await.len(), 1);
    let mail = t.mail_to(&owner.email).await.remove(0);
    assert!(
        mail.text.contains("91 %") || mail.text.contains("92 %"),
        "{}",
        mail.text
    );
}

#[tokio::test]
async fn deleted_files_are_kept_as_long_as_the_company_wants() {
    let t = app().await;
    let (a, b) = (t.tenant("a").await, t.tenant("b").await);
    a.patch(PATH, json!({"retention": {"deleted_files_days": 3}}))
        .await
        .ok();
    let mut paths = Vec::new();
    for client in [&a, &b] {
        let path = format!("/files/{}", store(&t, client, text("a.txt"), "hello").await);
        client.delete(&path).await.status(204);
        paths.push(format!("{path}/restore"));
    }
    t.pass(Duration::from_hours(24 * 4)).await;
    tidy(&t).await;
    let restored = async |client: &Client, path: &str| {
        let client = t.sign_in(&client.email).await.in_company(client.company());
        client.post(path, json!({})).await
    };
    restored(&a, &paths[0]).await.problem(404, "not-found");
    restored(&b, &paths[1]).await.ok();
}
