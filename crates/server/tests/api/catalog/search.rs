//! Search: what a term finds and what it does not.

use serde_json::json;
use testkit::{Answer, Client};

use super::{blamed, create_product, encoded};
use crate::app;

async fn search(client: &Client, list: &str, term: &str) -> Answer {
    client.get(&format!("{list}?{}", encoded("search", term))).await
}

/// Asserts what a search for each term finds, as SKUs in the order of names.
async fn finds(client: &Client, cases: &[(&str, &[&str])]) {
    for (term, expected) in cases {
        assert_eq!(
            search(client, "/products", term).await.ok().items("sku"),
            *expected,
            "{term:?}"
        );
    }
}

#[tokio::test]
async fn finds_name_sku_and_bar_code_whatever_case_and_accents() {
    let t = app().await;
    let a = t.tenant("a").await;
    for (name, sku, bar_code) in [
        ("Café molido", "CAF-1", "7701234567897"),
        ("Ñame criollo", "ÑAM-1", "7709"),
        ("Pingüino de peluche", "PEL-7", "AB-7"),
    ] {
        create_product(&a, sku, json!({"name": name, "bar_code": bar_code})).await;
    }
    finds(
        &a,
        &[
            ("cafe", &["CAF-1"]),
            ("CAFÉ", &["CAF-1"]),
            ("cafe\u{301}", &["CAF-1"]),
            ("fé mol", &["CAF-1"]),
            ("  molido ", &["CAF-1"]),
            ("name", &["ÑAM-1"]),
            ("ñame", &["ÑAM-1"]),
            ("PINGUINO", &["PEL-7"]),
            ("caf-", &["CAF-1"]),
            ("ñam-1", &["ÑAM-1"]),
            ("el-7", &["PEL-7"]),
            ("7701234567897", &["CAF-1"]),
            ("1234567", &["CAF-1"]),
            ("ab-7", &["PEL-7"]),
            ("770", &["CAF-1", "ÑAM-1"]),
            ("té", &[]),
            // Not from one part into the next.
            ("molido caf", &[]),
            ("molido\ncaf", &[]),
            ("caf-1 770", &[]),
        ],
    )
    .await;
}

#[tokio::test]
async fn one_or_two_characters_find_the_words_that_begin_with_them() {
    let t = app().await;
    let a = t.tenant("a").await;
    create_product(&a, "X-1", json!({"name": "Aceite de oliva"})).await;
    create_product(&a, "OL-2", json!({"name": "Brasil nuts", "bar_code": "90"})).await;
    create_product(&a, "Z-3", json!({"name": "Café & Té"})).await;
    finds(
        &a,
        &[
            ("o", &["X-1", "OL-2"]),
            ("ol", &["X-1", "OL-2"]),
            ("ac", &["X-1"]),
            ("te", &["Z-3"]),
            ("TÉ", &["Z-3"]),
            ("9", &["OL-2"]),
            ("90", &["OL-2"]),
            ("&", &["Z-3"]),
            ("x-", &["X-1"]),
            ("li", &[]),
            ("0", &[]),
        ],
    )
    .await;
}

#[tokio::test]
async fn wildcards_are_literal() {
    let t = app().await;
    let a = t.tenant("a").await;
    for (name, sku) in [
        ("Cacao 100% puro", "A_1"),
        ("Cacao 1000 puro", "AB1"),
        (r"Ruta C:\temp", "B1"),
        ("Ruta C:temp", "B2"),
    ] {
        create_product(&a, sku, json!({"name": name})).await;
    }
    finds(
        &a,
        &[
            ("100%", &["A_1"]),
            ("%", &[]),
            ("_", &[]),
            ("%%%", &[]),
            ("a_1", &["A_1"]),
            ("1%p", &[]),
            (r"c:\t", &["B1"]),
            (r"\", &[]),
            (r"100\%", &[]),
            ("cacao_100", &[]),
        ],
    )
    .await;
    for (list, name) in [("/brands", "100% natural"), ("/categories", "a_b")] {
        a.post(list, json!({"name": name})).await.created();
        a.post(list, json!({"name": "1000 natural axb"})).await.created();
    }
    assert_eq!(
        search(&a, "/brands", "0% N").await.ok().items("name"),
        ["100% natural"]
    );
    assert_eq!(
        search(&a, "/brands", "%").await.ok().items("name"),
        ["100% natural"]
    );
    assert_eq!(search(&a, "/categories", "A_B").await.ok().items("name"), ["a_b"]);
    assert!(
        search(&a, "/categories", r"\")
            .await
            .ok()
            .items("name")
            .is_empty()
    );
}

#[tokio::test]
async fn brands_and_categories_are_found_whatever_their_case() {
    let t = app().await;
    let a = t.tenant("a").await;
    for list in ["/brands", "/categories"] {
        a.post(list, json!({"name": "Ñandú Ágil"})).await.created();
        for term in ["ñandú", "ÁGIL", "d", " ndú á "] {
            assert_eq!(
                search(&a, list, term).await.ok().items("name"),
                ["Ñandú Ágil"],
                "{list} {term}"
            );
        }
        assert!(search(&a, list, "z").await.ok().items("name").is_empty());
    }
}

#[tokio::test]
async fn finds_only_the_companys_own_and_what_they_are_called_now() {
    let t = app().await;
    let (a, b) = (t.tenant("a").await, t.tenant("b").await);
    create_product(&b, "B", json!({"name": "Panela"})).await;
    let path = format!(
        "/products/{}",
        create_product(&a, "A", json!({"name": "Panela"})).await
    );
    finds(&a, &[("panela", &["A"])]).await;
    finds(&b, &[("panela", &["B"])]).await;
    a.patch(&path, json!({"name": "Azúcar"})).await.ok();
    finds(&a, &[("panela", &[]), ("azucar", &["A"])]).await;
    a.delete(&path).await.status(204);
    finds(&a, &[("azucar", &[])]).await;
    assert_eq!(
        a.get("/products?deleted=true&search=azucar")
            .await
            .ok()
            .items("sku"),
        ["A"]
    );
}

#[tokio::test]
async fn a_blank_term_finds_everything_and_a_broken_one_is_refused() {
    let t = app().await;
    let a = t.tenant("a").await;
    create_product(&a, "A", json!({})).await;
    a.post("/brands", json!({"name": "x"})).await.created();
    a.post("/categories", json!({"name": "x"})).await.created();
    for list in ["/products", "/brands", "/categories"] {
        for term in ["", " ", "\u{a0}"] {
            assert_eq!(
                search(&a, list, term).await.ok().items("id").len(),
                1,
                "{list} {term:?}"
            );
        }
        assert!(
            search(&a, list, &"ñ".repeat(100))
                .await
                .ok()
                .items("id")
                .is_empty()
        );
        let long = search(&a, list, &"ñ".repeat(101))
            .await
            .problem(400, "query-invalid");
        assert_eq!(blamed(&long), "search");
        search(&a, list, "a\0b").await.problem(400, "query-invalid");
        a.get(&format!("{list}?search=%00"))
            .await
            .problem(400, "query-invalid");
        // Bytes that are no UTF-8 are read as replacement characters: they find nothing.
        assert!(
            a.get(&format!("{list}?search=%FF"))
                .await
                .ok()
                .items("id")
                .is_empty()
        );
    }
}
