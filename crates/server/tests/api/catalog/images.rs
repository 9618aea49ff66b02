//! Pictures of products, with real files in a real store.

use std::time::Duration;

use futures::future::join_all;
use serde_json::{Value, json};
use testkit::{Answer, Client, TestApp};

use super::{create_product, walk};
use crate::app;
use crate::files::support::{execute, http, png, store, text, value};

/// A picture that is ready.
async fn picture(t: &TestApp, client: &Client) -> String {
    let new = json!({"filename": "café.png", "content_type": "image/png", "module": "products"});
    store(t, client, new, png(700, 500)).await
}

async fn add(client: &Client, product: &str, body: Value) -> Answer {
    client.post(&format!("/products/{product}/images"), body).await
}

/// Ids of the product's images as it shows them, the primary one with a star.
async fn shown(client: &Client, product: &str) -> Vec<String> {
    let product = client.get(&format!("/products/{product}")).await.ok();
    let images = product.json["images"].as_array().expect("images").clone();
    let id = |image: &Value| image["id"].as_str().expect("an id").to_owned();
    let star = |image: &Value| if image["is_primary"] == true { "*" } else { "" };
    images
        .iter()
        .map(|image| star(image).to_owned() + &id(image))
        .collect()
}

#[tokio::test]
async fn a_product_shows_its_pictures_by_urls_that_work() {
    let t = app().await;
    let a = t.tenant("a").await;
    let (product, file) = (create_product(&a, "S", json!({})).await, picture(&t, &a).await);
    let image = add(&a, &product, json!({"file_id": file})).await.created();
    let path = image.header("location").to_owned();
    assert_eq!(path, format!("/products/{product}/images/{}", image.id()));
    let found = a.get(&path).await.ok();
    assert_eq!(found.json, image.json);
    assert_eq!(found.header("etag"), image.header("etag"));
    let expected = json!([{"id": image.id(), "file_id": file, "position": 1, "is_primary": true,
        "urls": image.json["urls"]}]);
    let found = a.get(&format!("/products/{product}")).await.ok();
    assert_eq!(found.json["images"], expected);
    let listed = a.get("/products").await.ok();
    assert_eq!(listed.json["items"][0]["images"], expected);
    let alone = a.get(&format!("/products/{product}/images")).await.ok();
    assert_eq!(alone.json, json!({"items": expected}));

    for (name, longest) in [("thumb_160", 160), ("thumb_480", 480), ("thumb_1280", 700)] {
        let url = image.json["urls"][name].as_str().expect("a URL");
        let response = http().get(url).send().await.expect("the store answers");
        assert_eq!(response.status(), 200, "{url}");
        let header = |name: &str| response.headers()[name].to_str().expect("text").to_owned();
        assert_eq!(header("cache-control"), "private, max-age=86400, immutable");
        assert!(header("content-type").starts_with("image/"));
        let bytes = response.bytes().await.expect("a body");
        let picture = image::load_from_memory(&bytes).expect("a picture");
        assert_eq!(picture.width(), longest);
    }
}

#[tokio::test]
async fn urls_stay_the_same_for_their_window_and_say_so_in_no_etag() {
    let t = TestApp::with_files(
        server::service,
        |_| {},
        |files| files.config.picture_url_seconds = 10,
    )
    .await;
    let t = t.with_jobs(server::jobs().0);
    let a = t.tenant("a").await;
    let (product, file) = (create_product(&a, "S", json!({})).await, picture(&t, &a).await);
    add(&a, &product, json!({"file_id": file})).await.created();
    let path = format!("/products/{product}");
    let look = async || {
        // What was kept is no answer: its URLs end.
        let kept = a.with_header("If-None-Match", "*");
        let found = kept.get(&path).await.ok();
        let url = found.json["images"][0]["urls"]["thumb_160"]
            .as_str()
            .expect("a URL");
        (found.header("etag").to_owned(), url.to_owned())
    };
    let (tag, first) = look().await;
    let mut seen = vec![first.clone()];
    while seen.len() < 3 {
        tokio::time::sleep(Duration::from_millis(300)).await;
        let (same, url) = look().await;
        assert_eq!(same, tag);
        if seen.last() != Some(&url) {
            seen.push(url);
        }
    }
    let begun = |url: &str| {
        let (_, from) = url.split_once("X-Amz-Date=").expect("a date");
        from[..16].to_owned()
    };
    let seconds = begun(&seen[1]);
    assert_eq!(
        &seconds[14..],
        "0Z",
        "windows begin at full tens of seconds: {seconds}"
    );
    let again = http().get(&seen[1]).send().await.expect("an answer");
    assert_eq!(again.status(), 200, "works on after its window");
}

#[tokio::test]
async fn what_shows_a_picture_is_never_answered_by_what_was_kept() {
    let t = app().await;
    let a = t.tenant("a").await;
    let (product, file) = (create_product(&a, "S", json!({})).await, picture(&t, &a).await);
    let paths = [format!("/products/{product}"), "/company/me".to_owned()];
    let again = async |path: &str| {
        let tag = a.get(path).await.ok().header("etag").to_owned();
        let again = a.with_header("If-None-Match", &tag).get(path).await;
        (tag, again)
    };
    for path in &paths {
        let (_, answer) = again(path).await;
        answer.status(304);
    }
    add(&a, &product, json!({"file_id": file})).await.created();
    a.put("/company/me/logo", json!({"file_id": file})).await.ok();
    for path in &paths {
        let (tag, answer) = again(path).await;
        assert_eq!(answer.ok().header("etag"), tag);
        a.with_header("If-Match", &tag)
            .patch(path, json!({"description": "Nueva"}))
            .await
            .ok();
    }
}

#[tokio::test]
async fn only_a_picture_of_the_company_that_is_ready_is_shown() {
    let t = app().await;
    let (a, b) = (t.tenant("a").await, t.tenant("b").await);
    let product = create_product(&a, "S", json!({})).await;
    let (others, deleted) = (picture(&t, &b).await, picture(&t, &a).await);
    a.delete(&format!("/files/{deleted}")).await.status(204);
    let unknown = kernel::ids::new_id().to_string();
    for file in [others, deleted, unknown] {
        let refused = add(&a, &product, json!({"file_id": file})).await;
        let refused = refused.problem(422, "file-not-found");
        assert_eq!(refused.json["errors"][0]["pointer"], "/file_id");
    }
    let document = store(&t, &a, text("a.txt"), "hello").await;
    let pending = json!({"filename": "a.png", "content_type": "image/png", "module": "products"});
    let pending = a.post("/files/upload/presign", pending).await.created().json["file_id"].clone();
    for file in [json!(document), pending] {
        let refused = add(&a, &product, json!({"file_id": file})).await;
        let refused = refused.problem(422, "file-not-a-picture");
        assert_eq!(refused.json["errors"][0]["pointer"], "/file_id");
    }
    assert_eq!(shown(&a, &product).await, [""; 0]);
    let file = picture(&t, &a).await;
    a.delete(&format!("/products/{product}")).await.status(204);
    add(&a, &product, json!({"file_id": file}))
        .await
        .problem(404, "not-found");
}

#[tokio::test]
async fn images_have_an_order_and_one_of_them_is_the_primary_one() {
    let t = app().await;
    let a = t.tenant("a").await;
    let (product, file) = (create_product(&a, "S", json!({})).await, picture(&t, &a).await);
    let version = async || {
        a.get(&format!("/products/{product}"))
            .await
            .ok()
            .header("etag")
            .to_owned()
    };
    let before = version().await;
    let [first, second] = [
        json!({"file_id": file}),
        json!({"file_id": file, "is_primary": false}),
    ]
    .map(|body| add(&a, &product, body));
    let (first, second) = (first.await.created().id(), second.await.created().id());
    assert_ne!(version().await, before, "pictures are part of the product");
    assert_eq!(shown(&a, &product).await, [format!("*{first}"), second.clone()]);
    let third = json!({"file_id": file, "is_primary": true, "position": 9});
    let third = add(&a, &product, third).await.created().id();
    assert_eq!(
        shown(&a, &product).await,
        [format!("*{third}"), first.clone(), second.clone()]
    );
    let path = |id: &str| format!("/products/{product}/images/{id}");
    let moved = a.patch(&path(&first), json!({"position": 10})).await.ok();
    assert_eq!(
        (&moved.json["position"], &moved.json["is_primary"]),
        (&json!(10), &json!(false))
    );
    assert_eq!(
        shown(&a, &product).await,
        [format!("*{third}"), second.clone(), first.clone()]
    );
    a.patch(&path(&second), json!({"is_primary": true})).await.ok();
    assert_eq!(
        shown(&a, &product).await,
        [format!("*{second}"), third.clone(), first.clone()]
    );
    let refused = a.patch(&path(&second), json!({"is_primary": false})).await;
    refused.problem(422, "primary-image-required");
    a.patch(&path(&third), json!({"position": 0}))
        .await
        .problem(422, "validation-failed");
    a.with_header("If-Match", moved.header("etag"))
        .patch(&path(&first), json!({"position": 1}))
        .await
        .ok();
    a.with_header("If-Match", moved.header("etag"))
        .delete(&path(&first))
        .await
        .problem(412, "precondition-failed");

    a.delete(&path(&second)).await.status(204);
    assert_eq!(shown(&a, &product).await, [format!("*{first}"), third.clone()]);
    a.delete(&path(&second)).await.problem(404, "not-found");
    let other = create_product(&a, "O", json!({})).await;
    for answer in [
        a.delete(&format!("/products/{other}/images/{first}")).await,
        a.patch(&format!("/products/{other}/images/{first}"), json!({}))
            .await,
    ] {
        answer.problem(404, "not-found");
    }
    a.delete(&path(&first)).await.status(204);
    a.delete(&path(&third)).await.status(204);
    assert_eq!(shown(&a, &product).await, [""; 0]);
}

#[tokio::test]
async fn a_list_shows_the_primary_picture_of_each_product() {
    let t = app().await;
    let a = t.tenant("a").await;
    let file = picture(&t, &a).await;
    let mut expected = Vec::new();
    for sku in ["A", "B", "C"] {
        let product = create_product(&a, sku, json!({})).await;
        add(&a, &product, json!({"file_id": file})).await.created();
        let primary = json!({"file_id": file, "is_primary": true});
        expected.push(add(&a, &product, primary).await.created().id());
    }
    create_product(&a, "D", json!({})).await;
    let pages = walk(&a, "/products?sort=sku&limit=2").await;
    let images: Vec<_> = pages
        .iter()
        .flat_map(|page| page.json["items"].as_array().expect("items"))
        .map(|item| item["images"].as_array().expect("images"))
        .collect();
    let ids: Vec<_> = images
        .iter()
        .flat_map(|images| images.iter())
        .map(|image| &image["id"])
        .collect();
    assert_eq!(ids, expected.iter().collect::<Vec<_>>());
    assert_eq!(
        images.iter().map(|images| images.len()).collect::<Vec<_>>(),
        [1, 1, 1, 0]
    );
}

#[tokio::test]
async fn a_picture_in_use_is_not_deleted() {
    let t = app().await;
    let a = t.tenant("a").await;
    let (product, file) = (create_product(&a, "S", json!({})).await, picture(&t, &a).await);
    let image = add(&a, &product, json!({"file_id": file})).await.created().id();
    let path = format!("/files/{file}");
    a.delete(&path).await.problem(409, "file-in-use");
    // A deleted product can come back, with its pictures.
    a.delete(&format!("/products/{product}")).await.status(204);
    a.delete(&path).await.problem(409, "file-in-use");
    a.delete(&format!("/products/{product}/images/{image}"))
        .await
        .status(204);
    a.delete(&path).await.status(204);
    add(
        &a,
        &create_product(&a, "T", json!({})).await,
        json!({"file_id": file}),
    )
    .await
    .problem(422, "file-not-found");
}

#[tokio::test]
async fn sweeping_leaves_pictures_in_use_alone() {
    let t = app().await;
    let a = t.tenant("a").await;
    let (product, file) = (create_product(&a, "S", json!({})).await, picture(&t, &a).await);
    let image = add(&a, &product, json!({"file_id": file})).await.created();
    t.pass(Duration::from_hours(24 * 400)).await;
    let found = files::sweep(&t.app, false).await.expect("a sweep");
    assert_eq!((found.unreferenced.count, found.objects), (0, 4), "{found:?}");
    let url = image.json["urls"]["thumb_480"].as_str().expect("a URL");
    assert_eq!(http().get(url).send().await.expect("an answer").status(), 200);
}

#[tokio::test]
async fn a_product_has_at_most_thirty_images() {
    let t = app().await;
    let a = t.tenant("a").await;
    let (product, file) = (create_product(&a, "S", json!({})).await, picture(&t, &a).await);
    let adding = (0..35).map(|_| add(&a, &product, json!({"file_id": file})));
    let mut answers: Vec<_> = join_all(adding).await.iter().map(Answer::summary).collect();
    answers.sort();
    let refused = vec!["409 too-many-images".to_owned(); 5];
    assert_eq!(answers, [vec!["201".to_owned(); 30], refused].concat());
    assert_eq!(shown(&a, &product).await.len(), 30);
}

/// Adding, moving and removing primary images at once: never two of them, never none.
#[tokio::test(flavor = "multi_thread")]
async fn whoever_comes_at_once_one_image_is_the_primary_one() {
    let t = app().await;
    let a = t.tenant("a").await;
    let (product, file) = (create_product(&a, "S", json!({})).await, picture(&t, &a).await);
    let primary = json!({"file_id": file, "is_primary": true});
    for round in 0..10 {
        let [x, y, z] = [&primary; 3].map(|body| add(&a, &product, body.clone()));
        let (x, y, z) = tokio::join!(x, y, z);
        let [x, y, z] =
            [x, y, z].map(|answer| format!("/products/{product}/images/{}", answer.created().id()));
        let stars = shown(&a, &product)
            .await
            .iter()
            .filter(|id| id.starts_with('*'))
            .count();
        assert_eq!(stars, 1, "round {round}, after adding");
        let (p, q, r) = tokio::join!(
            a.patch(&x, json!({"is_primary": true})),
            a.patch(&y, json!({"is_primary": true})),
            a.delete(&z)
        );
        assert_eq!(
            [p.summary(), q.summary(), r.summary()],
            ["200", "200", "204"],
            "round {round}"
        );
        let (p, q) = tokio::join!(a.delete(&x), a.delete(&y));
        assert_eq!([p.summary(), q.summary()], ["204", "204"]);
        add(&a, &product, json!({"file_id": file})).await.created();
        let stars = shown(&a, &product)
            .await
            .iter()
            .filter(|id| id.starts_with('*'))
            .count();
        assert_eq!(stars, 1, "round {round}, after removing");
        if round % 3 == 2 {
            execute(&t, "delete from ally.product_images").await;
        }
    }
}

/// A file is deleted while a product takes it up: one of the two is refused.
#[tokio::test(flavor = "multi_thread")]
async fn a_product_never_shows_a_file_that_was_deleted_meanwhile() {
    let t = app().await;
    let a = t.tenant("a").await;
    let product = create_product(&a, "S", json!({})).await;
    let file = picture(&t, &a).await;
    let path = format!("/files/{file}");
    let mut outcomes = [0, 0];
    for round in 0..40 {
        let (deleted, added) = if round % 2 == 0 {
            tokio::join!(a.delete(&path), add(&a, &product, json!({"file_id": file})))
        } else {
            let (added, deleted) = tokio::join!(add(&a, &product, json!({"file_id": file})), a.delete(&path));
            (deleted, added)
        };
        match (deleted.summary().as_str(), added.summary().as_str()) {
            ("204", "422 file-not-found") => {
                outcomes[0] += 1;
                a.post(&format!("{path}/restore"), json!({})).await.ok();
            }
            ("409 file-in-use", "201") => {
                outcomes[1] += 1;
                let id = added.id();
                a.delete(&format!("/products/{product}/images/{id}"))
                    .await
                    .status(204);
            }
            outcome => panic!("round {round}: {outcome:?}"),
        }
    }
    let broken = value(
        &t,
        "select count(*)::text from ally.product_images i join ally.files f on f.id = i.file_id where f.deleted_at is not null",
    );
    assert_eq!(broken.await, "0", "{outcomes:?}");
}

#[tokio::test]
async fn a_cashier_sees_pictures_and_changes_none() {
    let t = app().await;
    let a = t.tenant("a").await;
    let cashier = t.member(&a, "cashier").await;
    let (product, file) = (create_product(&a, "S", json!({})).await, picture(&t, &a).await);
    let image = add(&a, &product, json!({"file_id": file})).await.created().id();
    assert_eq!(shown(&cashier, &product).await, [format!("*{image}")]);
    let path = format!("/products/{product}/images/{image}");
    for answer in [
        add(&cashier, &product, json!({"file_id": file})).await,
        cashier.patch(&path, json!({"position": 2})).await,
        cashier.delete(&path).await,
    ] {
        answer.problem(403, "permission-missing");
    }
}
