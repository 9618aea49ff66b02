//! Files as a company keeps them: found, described, deleted, restored, purged.

use std::time::Duration;

use serde_json::{Value, json};

use super::support::{bytes, execute, png, room, status, store, text, tidy, until, value};
use crate::{app, plan};

const DAY: Duration = Duration::from_hours(24);

#[tokio::test]
async fn files_are_found_by_every_filter_and_page_by_page() {
    let t = app().await;
    let a = t.tenant("a").await;
    let entity = "0190a0a0-0000-7000-8000-000000000001";
    let new = |filename: &str, more: Value| {
        let mut new = text(filename);
        new.as_object_mut()
            .expect("an object")
            .extend(more.as_object().expect("an object").clone());
        new
    };
    store(&t, &a, new("uno.txt", json!({"tags": ["front", "big"]})), "1").await;
    store(
        &t,
        &a,
        new(
            "dos.txt",
            json!({"entity_id": entity, "description": "100% algodón"}),
        ),
        "2",
    )
    .await;
    store(&t, &a, new("tres.txt", json!({"module": "invoices"})), "").await;
    store(
        &t,
        &a,
        new("foto.png", json!({"content_type": "image/png"})),
        png(9, 9),
    )
    .await;
    let find = async |query: &str| {
        a.get(&format!("/files?sort=filename&{query}"))
            .await
            .ok()
            .items("filename")
            .join(" ")
    };
    assert_eq!(find("").await, "dos.txt foto.png tres.txt uno.txt");
    assert_eq!(find("tag=front").await, "uno.txt");
    assert_eq!(find(&format!("entity_id={entity}")).await, "dos.txt");
    assert_eq!(find("module=invoices").await, "tres.txt");
    assert_eq!(
        find("status=ready&module=documents").await,
        "dos.txt foto.png uno.txt"
    );
    assert_eq!(find("status=rejected").await, "tres.txt");
    assert_eq!(find("content_type=image%2Fpng").await, "foto.png");
    assert_eq!(find("search=O.T").await, "uno.txt");
    assert_eq!(
        find("search=0%25+ALGOD").await,
        "dos.txt",
        "in the description, % taken literally"
    );
    assert_eq!(
        find("search=10").await,
        "dos.txt",
        "two characters where a word begins"
    );
    assert_eq!(find("search=%25").await, "");
    a.get("/files?status=lost").await.problem(400, "query-invalid");

    let first = a.get("/files?limit=3&include_total=true").await.ok();
    assert_eq!(
        (first.items("filename").join(" "), &first.json["total"]),
        ("foto.png tres.txt dos.txt".to_owned(), &json!(4))
    );
    let cursor = first.json["next_cursor"].as_str().expect("a cursor");
    assert_eq!(
        a.get(&format!("/files?limit=3&include_total=true&cursor={cursor}"))
            .await
            .ok()
            .items("filename"),
        ["uno.txt"]
    );
}

#[tokio::test]
async fn a_file_is_described_by_whoever_saw_it_last() {
    let t = app().await;
    let a = t.tenant("a").await;
    let path = format!("/files/{}", store(&t, &a, text("a.txt"), "hello").await);
    let read = a.get(&path).await.ok();
    let tag = a.with_header("If-Match", read.header("etag"));
    let changed = tag
        .patch(&path, json!({"description": "Factura", "tags": ["x"]}))
        .await
        .ok()
        .json;
    assert_eq!(
        (&changed["description"], &changed["tags"], &changed["filename"]),
        (&json!("Factura"), &json!(["x"]), &json!("a.txt"))
    );
    tag.patch(&path, json!({"description": null}))
        .await
        .problem(412, "precondition-failed");
    assert_eq!(
        a.patch(&path, json!({"description": null})).await.ok().json["description"],
        json!(null)
    );
    a.patch(&path, json!({"filename": "b.txt"}))
        .await
        .problem(422, "validation-failed");
    a.patch(&path, json!({"status": "ready"}))
        .await
        .problem(422, "validation-failed");
}

#[tokio::test]
async fn a_deleted_file_comes_back_until_it_is_purged() {
    let t = app().await;
    let mut a = t.tenant("a").await;
    let new = json!({"filename": "foto.png", "content_type": "image/png", "module": "documents"});
    let id = store(&t, &a, new, png(200, 100)).await;
    let path = format!("/files/{id}");
    a.post(&format!("{path}/restore"), json!({}))
        .await
        .problem(409, "file-not-deleted");
    a.delete(&path).await.status(204);
    a.get(&path).await.problem(404, "not-found");
    a.get(&format!("{path}/download")).await.problem(404, "not-found");
    assert_eq!(
        (
            a.get("/files").await.ok().items("id").len(),
            a.get("/files?deleted=true").await.ok().items("id")
        ),
        (0, vec![id.clone()])
    );
    a.post(&format!("{path}/restore"), json!({})).await.ok();
    assert_eq!(status(&a, &id).await, "ready");

    a.delete(&path).await.status(204);
    let sign_in = async |a: &testkit::Client| t.sign_in(&a.email).await.in_company(a.company());
    t.pass(DAY * 29).await;
    tidy(&t).await;
    a = sign_in(&a).await;
    a.post(&format!("{path}/restore"), json!({})).await.ok();
    assert!(!bytes(&a, &id).await.is_empty());

    a.delete(&path).await.status(204);
    t.pass(DAY * 30 + Duration::from_secs(1)).await;
    tidy(&t).await;
    a = sign_in(&a).await;
    assert_eq!(a.get("/files?deleted=true").await.ok().items("id").len(), 0);
    a.post(&format!("{path}/restore"), json!({}))
        .await
        .problem(404, "not-found");
    assert_eq!(room(&t).await, "0 0 0");
    assert_eq!(
        files::sweep(&t.app, true).await.expect("a sweep").objects,
        0,
        "thumbnails too"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_restored_while_it_is_purged_stays() {
    let t = app().await;
    let a = t.tenant("a").await;
    let id = store(&t, &a, text("a.txt"), "hello").await;
    a.delete(&format!("/files/{id}")).await.status(204);
    t.pass(DAY * 31).await;
    // A restoring that has not committed when the purge chooses.
    let mut restoring = t.superuser().await;
    for statement in ["begin", "update ally.files set deleted_at = null"] {
        sqlx::query(statement)
            .execute(&mut restoring)
            .await
            .expect(statement);
    }
    let waiting = "select count(*)::text from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock' and query like 'delete from files%'";
    let restore = async {
        until(async || value(&t, waiting).await != "0").await;
        sqlx::query("commit")
            .execute(&mut restoring)
            .await
            .expect("a commit");
    };
    tokio::join!(tidy(&t), restore);
    let a = t.sign_in(&a.email).await.in_company(a.company());
    assert_eq!(bytes(&a, &id).await, b"hello");
}

#[tokio::test]
async fn a_company_that_cannot_be_tidied_keeps_no_other_waiting() {
    let t = app().await;
    for name in ["a", "b", "c"] {
        let a = t.tenant(name).await;
        let id = store(&t, &a, text(&format!("{name}.txt")), "hello").await;
        a.delete(&format!("/files/{id}")).await.status(204);
    }
    t.pass(DAY * 31).await;
    execute(
        &t,
        "create function ally.broken() returns trigger language plpgsql as $$
         begin if old.filename = 'a.txt' then raise 'broken'; end if; return old; end $$",
    )
    .await;
    execute(
        &t,
        "create trigger broken before delete on ally.files for each row execute function ally.broken()",
    )
    .await;
    plan(&t).await;
    let worker = t.start_worker();
    until(async || value(&t, "select count(*)::text from ally.files").await == "1").await;
    worker.stop().await;
    let error = value(&t, "select last_error from ally.jobs where name = 'files.tidy'").await;
    assert!(error.starts_with("1 companies were left out"), "{error}");
}

#[tokio::test]
async fn files_are_found_without_regard_to_case_and_accents() {
    let t = app().await;
    let a = t.tenant("a").await;
    let b = t.tenant("b").await;
    let mut new = text("Café_de-altura.txt");
    new["tags"] = json!(["frente"]);
    let id = store(&t, &a, new, "hello").await;
    store(&t, &b, text("cafe.txt"), "hello").await;
    for query in [
        "search=cafe",
        "search=ALTURA",
        "search=caf%C3%A9&tag=frente",
        "tag=frente",
    ] {
        assert_eq!(
            a.get(&format!("/files?{query}")).await.ok().items("id"),
            [id.as_str()],
            "{query}"
        );
    }
    for query in [
        "search=te",
        "search=%25",
        "search=cafe&tag=otra",
        "tag=frent",
        "search=cafe&deleted=true",
    ] {
        assert_eq!(
            a.get(&format!("/files?{query}")).await.ok().items("id"),
            [""; 0],
            "{query}"
        );
    }
}
