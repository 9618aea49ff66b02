//! The catalogue as its clients see it.

mod brands;
mod categories;
mod concurrency;
mod images;
mod paging;
mod plans;
mod products;
mod search;

use reqwest::Url;
use serde_json::Value;
use testkit::{Answer, Client, TestApp};

/// `testkit::product` with these fields besides, or instead.
fn product_with(sku: &str, fields: Value) -> Value {
    let mut product = testkit::product(&format!("Product {sku}"), sku);
    let Value::Object(fields) = fields else {
        panic!("no fields: {fields}")
    };
    for (name, value) in fields {
        product[name] = value;
    }
    product
}

/// Creates a product and answers its id.
async fn create_product(client: &Client, sku: &str, fields: Value) -> String {
    client
        .post("/products", product_with(sku, fields))
        .await
        .created()
        .id()
}

/// Inserts `count` products in one statement, so that they share their creation time. Names and prices
/// repeat; every third product has no bar code, and every tenth is not for sale.
async fn generate_products(t: &TestApp, client: &Client, count: i32) {
    let inserted = sqlx::query(
        "insert into ally.products (tenant_id, id, name, sku, bar_code, price_sale, is_active)
         select $1, gen_random_uuid(), 'Artículo ' || i % 7, 'SKU-' || lpad(i::text, 6, '0'),
                case when i % 3 > 0 then '770' || lpad(i::text, 10, '0') end, (i % 5) * 1000.10, i % 10 > 0
           from generate_series(1, $2) as i",
    );
    let mut conn = t.superuser().await;
    inserted
        .bind(client.company())
        .bind(count)
        .execute(&mut conn)
        .await
        .expect("products");
}

/// `name=value` for a query.
fn encoded(name: &str, value: &str) -> String {
    let url = Url::parse_with_params("http://localhost", [(name, value)]).expect("URL");
    url.query().expect("query").to_owned()
}

/// The target of the answer's `Link` to the next page (RFC 8288), if it has one.
fn next_link(page: &Answer) -> Option<String> {
    let link = page.header("link");
    let target = link.strip_prefix('<')?.split_once('>').expect("a link target");
    assert_eq!(target.1, "; rel=\"next\"");
    Some(target.0.to_owned())
}

/// All pages from this one on, following the `Link` headers.
async fn walk(client: &Client, path: &str) -> Vec<Answer> {
    let mut pages = vec![client.get(path).await.ok()];
    while let Some(next) = pages.last().and_then(next_link) {
        pages.push(client.get(&next).await.ok());
        assert!(pages.len() < 200, "{path} does not end");
    }
    pages
}

/// A field of all items of all pages.
fn all_items(pages: &[Answer], field: &str) -> Vec<String> {
    pages.iter().flat_map(|page| page.items(field)).collect()
}

/// The one parameter or pointer that the answer's errors name.
#[track_caller]
fn blamed(answer: &Answer) -> &str {
    let errors = answer.json["errors"]
        .as_array()
        .map(Vec::as_slice)
        .unwrap_or_default();
    let mut named = errors
        .iter()
        .map(|error| error["pointer"].as_str().or(error["parameter"].as_str()));
    let first = named
        .next()
        .flatten()
        .unwrap_or_else(|| panic!("an error expected: {}", answer.text()));
    assert!(named.all(|other| other == Some(first)), "{}", answer.text());
    first
}
