//! Lists: filters, orders, pages, cursors, links.

use serde_json::{Value, json};
use sqlx::QueryBuilder;
use testkit::{Client, TestApp};

use super::{all_items, blamed, create_product, encoded, generate_products, next_link, walk};
use crate::app;

const SORTS: [(&str, &str); 4] = [
    ("name", "name"),
    ("sku", "sku"),
    ("created_at", "created_at"),
    ("price_sale", "price_sale"),
];

/// Ids of the company's products in the order of the database.
async fn in_order(t: &TestApp, client: &Client, column: &str, direction: &str) -> Vec<String> {
    let mut query = QueryBuilder::new("select id::text from ally.products where tenant_id = ");
    query
        .push_bind(client.company())
        .push(format_args!(" order by {column} {direction}, id {direction}"));
    query
        .build_query_scalar()
        .fetch_all(&mut t.superuser().await)
        .await
        .expect("ids")
}

#[tokio::test]
async fn walking_the_pages_gives_every_item_once_in_order() {
    let t = app().await;
    let (a, b) = (t.tenant("a").await, t.tenant("b").await);
    generate_products(&t, &a, 57).await;
    generate_products(&t, &b, 5).await;
    for (sort, column) in SORTS {
        for (prefix, direction) in [("", "asc"), ("-", "desc")] {
            let pages = walk(&a, &format!("/products?limit=10&sort={prefix}{sort}")).await;
            let sizes: Vec<usize> = pages.iter().map(|page| page.items("id").len()).collect();
            assert_eq!(sizes, [10, 10, 10, 10, 10, 7], "{prefix}{sort}");
            assert_eq!(
                all_items(&pages, "id"),
                in_order(&t, &a, column, direction).await,
                "{prefix}{sort}"
            );
        }
    }
    let default = walk(&a, "/products").await;
    assert_eq!(
        default
            .iter()
            .map(|page| page.items("id").len())
            .collect::<Vec<_>>(),
        [20, 20, 17]
    );
    assert_eq!(all_items(&default, "id"), in_order(&t, &a, "name", "asc").await);
}

#[tokio::test]
async fn the_last_page_has_no_successor_even_when_it_is_full() {
    let t = app().await;
    let a = t.tenant("a").await;
    let empty = a.get("/products").await.ok();
    assert_eq!(empty.json, json!({"items": [], "next_cursor": null}));
    generate_products(&t, &a, 20).await;
    let pages = walk(&a, "/products?limit=10").await;
    assert_eq!(pages.len(), 2);
    assert_eq!(
        (&pages[1].json["next_cursor"], pages[1].header("link")),
        (&Value::Null, "")
    );
    assert_eq!(a.get("/products?limit=100").await.ok().items("id").len(), 20);
}

/// What is there all the time is seen exactly once, whatever comes and goes.
#[tokio::test]
async fn rows_that_come_and_go_neither_hide_nor_repeat_the_others() {
    let t = app().await;
    let a = t.tenant("a").await;
    generate_products(&t, &a, 57).await;
    for i in 0..57 {
        a.post("/brands", json!({"name": format!("Brand {i}")}))
            .await
            .created();
    }
    let churn = async {
        for i in 0_usize.. {
            let name = format!("Artículo {}", i % 7);
            let product = testkit::product(&name, &format!("SKU-0000{}x{i}", i % 60));
            let product = a.post("/products", product).await.created();
            let brand = a
                .post("/brands", json!({"name": format!("Brand {}+{i}", i % 57)}))
                .await
                .created();
            a.delete(product.header("location")).await.status(204);
            a.delete(brand.header("location")).await.status(204);
        }
    };
    let walks = async {
        for list in ["/products", "/brands"] {
            let lasting = a
                .get(&format!("{list}?limit=100&sort=created_at"))
                .await
                .ok()
                .items("id");
            let lasting = &lasting[..57];
            for sort in ["name", "-name", "created_at", "-created_at"] {
                let seen = all_items(&walk(&a, &format!("{list}?limit=4&sort={sort}")).await, "id");
                for id in lasting {
                    assert_eq!(
                        seen.iter().filter(|other| *other == id).count(),
                        1,
                        "{list} by {sort}"
                    );
                }
            }
        }
    };
    tokio::select! {
        () = churn => unreachable!("it goes on"),
        () = walks => {}
    }
}

#[tokio::test]
async fn filters_combine() {
    let t = app().await;
    let a = t.tenant("a").await;
    let acme = a.post("/brands", json!({"name": "Acme"})).await.created().id();
    let dairy = a
        .post("/categories", json!({"name": "Lácteos"}))
        .await
        .created()
        .id();
    let products = [
        (
            "1",
            json!({"price_sale": "0.10", "brand_id": acme, "category_id": dairy}),
        ),
        ("2", json!({"price_sale": "0.20", "brand_id": acme})),
        (
            "3",
            json!({"price_sale": "0.30", "category_id": dairy, "is_active": false}),
        ),
        (
            "4",
            json!({"price_sale": "10.00", "brand_id": acme, "is_active": false}),
        ),
    ];
    for (sku, fields) in products {
        create_product(&a, sku, fields).await;
    }
    let deleted = create_product(&a, "5", json!({"price_sale": "0.10", "brand_id": acme})).await;
    a.delete(&format!("/products/{deleted}")).await.status(204);

    let nobody = "0190a6c4-0000-7000-8000-000000000000";
    let cases = [
        (format!("brand_id={acme}"), "124"),
        (format!("category_id={dairy}"), "13"),
        (format!("brand_id={nobody}"), ""),
        ("is_active=true".to_owned(), "12"),
        ("is_active=false".to_owned(), "34"),
        ("min_price=0.2".to_owned(), "234"),
        ("max_price=0.20".to_owned(), "12"),
        ("min_price=0.11&max_price=0.30".to_owned(), "23"),
        ("min_price=5&max_price=1".to_owned(), ""),
        ("deleted=true".to_owned(), "5"),
        ("deleted=false".to_owned(), "1234"),
        ("search=product".to_owned(), "1234"),
        (format!("brand_id={acme}&category_id={dairy}"), "1"),
        (format!("brand_id={acme}&is_active=false&min_price=1"), "4"),
        (format!("brand_id={acme}&deleted=true&search=5"), "5"),
        (
            format!("category_id={dairy}&is_active=false&search=product&max_price=0.30&sort=-price_sale"),
            "3",
        ),
    ];
    for (query, expected) in cases {
        let answer = a.get(&format!("/products?include_total=true&{query}")).await.ok();
        assert_eq!(answer.items("sku").concat(), expected, "{query}");
        assert_eq!(answer.json["total"], expected.len(), "{query}");
    }
}

#[tokio::test]
async fn a_total_counts_what_matches_not_the_page() {
    let t = app().await;
    let a = t.tenant("a").await;
    generate_products(&t, &a, 57).await;
    for page in walk(&a, "/products?limit=30&include_total=true").await {
        assert_eq!(page.json["total"], 57);
    }
    assert_eq!(
        a.get("/products?limit=1&is_active=false&include_total=true")
            .await
            .ok()
            .json["total"],
        5
    );
    for without in ["/products", "/products?include_total=false"] {
        assert!(a.get(without).await.ok().json.get("total").is_none());
    }
}

#[tokio::test]
async fn a_wrong_parameter_is_named() {
    let t = app().await;
    let a = t.tenant("a").await;
    let wrong = [
        ("limit", "0"),
        ("limit", "101"),
        ("limit", "abc"),
        ("limit", "-1"),
        ("limit", "1.5"),
        ("limit", ""),
        ("limit", "99999999999"),
        ("offset", "20"),
        ("Limit", "20"),
        ("ñ", "1"),
        ("sort", "colour"),
        ("sort", "--name"),
        ("sort", ""),
        ("sort", "name,sku"),
        ("include_total", "maybe"),
        ("deleted", "1"),
        ("is_active", "yes"),
        ("brand_id", "acme"),
        ("category_id", ""),
        ("min_price", "-1"),
        ("min_price", "abc"),
        ("max_price", "1e3"),
        ("max_price", "1.005"),
        ("max_price", "10000000000000"),
    ];
    for (name, value) in wrong {
        let query = encoded(name, value);
        let answer = a
            .get(&format!("/products?{query}"))
            .await
            .problem(400, "query-invalid");
        assert_eq!(blamed(&answer), name, "{query}");
    }
    a.get("/products?limit=1&limit=2")
        .await
        .problem(400, "query-invalid");
    for list in ["/brands", "/categories"] {
        let answer = a
            .get(&format!("{list}?is_active=true"))
            .await
            .problem(400, "query-invalid");
        assert_eq!(blamed(&answer), "is_active", "{list}");
    }
}

#[tokio::test]
async fn a_cursor_works_only_where_it_was_issued() {
    let t = app().await;
    let (a, b) = (t.tenant("a").await, t.tenant("b").await);
    for client in [&a, &b] {
        generate_products(&t, client, 30).await;
        for name in ["x", "y", "z"] {
            client.post("/brands", json!({"name": name})).await.created();
            client.post("/categories", json!({"name": name})).await.created();
        }
    }
    let cursor = |page: testkit::Answer| page.json["next_cursor"].as_str().expect("cursor").to_owned();
    let issued = cursor(a.get("/products?limit=10&is_active=true").await.ok());
    let at = |query: &str| format!("/products?{query}cursor={issued}");
    let second = a.get(&at("is_active=true&limit=10&")).await.ok().items("id");
    assert_eq!(
        a.get(&at("is_active=true&limit=5&")).await.ok().items("id"),
        second[..5],
        "a page may have another size"
    );
    let colleague = t.member(&a, "viewer").await;
    assert_eq!(
        colleague
            .get(&at("is_active=true&limit=10&"))
            .await
            .ok()
            .items("id"),
        second
    );

    b.get(&at("is_active=true&")).await.problem(400, "cursor-invalid");
    for other in [
        "",
        "is_active=false&",
        "is_active=true&search=a&",
        "is_active=true&sort=sku&",
        "is_active=true&sort=-name&",
    ] {
        a.get(&at(other)).await.problem(400, "cursor-invalid");
    }
    let brands = cursor(a.get("/brands?limit=1").await.ok());
    a.get(&format!("/brands?cursor={brands}")).await.ok();
    a.get(&format!("/categories?cursor={brands}"))
        .await
        .problem(400, "cursor-invalid");
    a.get(&format!("/products?cursor={brands}"))
        .await
        .problem(400, "cursor-invalid");

    let mut forged = brands.clone().into_bytes();
    for i in (0..forged.len() - 1).step_by(7) {
        let original = std::mem::replace(
            &mut forged[i],
            if brands.as_bytes()[i] == b'A' { b'B' } else { b'A' },
        );
        let text = String::from_utf8_lossy(&forged).into_owned();
        a.get(&format!("/brands?cursor={text}"))
            .await
            .problem(400, "cursor-invalid");
        forged[i] = original;
    }
    for bad in [
        &brands[1..],
        &brands[..brands.len() - 4],
        &format!("{brands}AAAA"),
        "A",
        "",
        "%00",
        "%F0%9F%98%80",
        &"A".repeat(3000),
    ] {
        let answer = a.get(&format!("/brands?cursor={bad}")).await;
        assert_eq!(answer.status, 400, "{bad}: {}", answer.text());
    }
}

#[tokio::test]
async fn the_link_keeps_everything_that_was_asked() {
    let t = app().await;
    let a = t.tenant("a").await;
    for i in 0..7 {
        let name = format!("Ñandú & más: 100% #{i}");
        a.post("/products", testkit::product(&name, &format!("S-{i}")))
            .await
            .created();
    }
    create_product(&a, "other", json!({})).await;
    let search = encoded("search", "ñandú & más: 100% #");
    let path = format!("/products?{search}&limit=3&include_total=true&sort=-sku&is_active=true");
    let pages = walk(&a, &path).await;
    assert_eq!(
        all_items(&pages, "sku"),
        ["S-6", "S-5", "S-4", "S-3", "S-2", "S-1", "S-0"]
    );
    assert!(pages.iter().all(|page| page.json["total"] == 7));
    let link = next_link(&pages[0]).expect("link");
    assert!(link.is_ascii() && link.starts_with("/products?"), "{link}");
    assert!(
        link.ends_with(&format!(
            "cursor={}",
            pages[0].json["next_cursor"].as_str().expect("cursor")
        )),
        "{link}"
    );
}

#[tokio::test]
async fn names_are_in_spanish_order() {
    let t = app().await;
    let a = t.tenant("a").await;
    let expected = [
        "10 granos",
        "aceite",
        "ácido",
        "Agua",
        "arroz",
        "azúcar",
        "nuez",
        "Nutella",
        "ñame",
        "Ñoquis",
        "oblea",
    ];
    for name in [
        "ñame",
        "azúcar",
        "nuez",
        "Agua",
        "oblea",
        "Ñoquis",
        "ácido",
        "10 granos",
        "arroz",
        "Nutella",
        "aceite",
    ] {
        a.post("/products", testkit::product(name, name)).await.created();
        a.post("/brands", json!({"name": name})).await.created();
        a.post("/categories", json!({"name": name})).await.created();
    }
    let mut reversed = expected;
    reversed.reverse();
    for list in ["/products", "/brands", "/categories"] {
        assert_eq!(
            all_items(&walk(&a, &format!("{list}?limit=2")).await, "name"),
            expected,
            "{list}"
        );
        assert_eq!(
            all_items(&walk(&a, &format!("{list}?limit=2&sort=-name")).await, "name"),
            reversed,
            "{list}"
        );
    }
    assert_eq!(
        all_items(&walk(&a, "/products?limit=2&sort=sku").await, "sku"),
        expected
    );
}
