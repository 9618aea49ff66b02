//! The statements of the catalogue use their indexes when a company has many products.
//!
//! `auto_explain`, preloaded for `ally_app` in the test's database, sends the plan of everything that a
//! request executes (what functions and foreign keys execute too) as a notice with the answer. So the
//! statements are those of the handlers, run by their role, under its policies, with their parameters.

use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use testkit::{Answer, Client, TestApp};
use tracing::field::{Field, Visit};
use tracing::subscriber::DefaultGuard;
use tracing::{Event, Subscriber};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};

use super::encoded;

const EXPLAIN: &str = "do $$
declare
  setting text;
begin
  foreach setting in array array[
    'session_preload_libraries = auto_explain', 'auto_explain.log_min_duration = 0', 'auto_explain.log_level = notice',
    'auto_explain.log_format = json', 'auto_explain.log_analyze = on', 'auto_explain.log_timing = off',
    'auto_explain.log_nested_statements = on'
  ] loop
    execute format('alter role ally_app in database %I set %s', current_database(), setting);
  end loop;
end $$";

const BRANDS: &str = "insert into ally.brands (tenant_id, id, name)
  select company, gen_random_uuid(), 'Brand ' || i from unnest($1) as company, generate_series(0, 49) as i";

const CATEGORIES: &str = "insert into ally.categories (tenant_id, id, name)
  select company, gen_random_uuid(), 'Category ' || i from unnest($1) as company, generate_series(0, 49) as i";

/// Two thirds of the products are the first company's.
const PRODUCTS: &str = "insert into ally.products
    (tenant_id, id, name, sku, bar_code, price_sale, is_active, brand_id, category_id, created_at, deleted_at,
     primary_image)
  select company, gen_random_uuid(),
         (array['Arroz', 'Azúcar', 'Café', 'Leche', 'Panela'])[1 + i % 5] || ' ' || left(md5(i::text), 6),
         'SKU-' || i, '770' || i, i * 10, i % 10 > 0, brands.id, categories.id,
         now() - i * interval '1 minute', case when i % 20 = 0 then now() end,
         json_build_object('id', brands.id, 'product_id', brands.id, 'file_id', brands.id, 'position', 1,
                           'is_primary', true, 'version', 1, 'urls', '')
    from unnest($1) with ordinality as companies (company, number)
   cross join generate_series(1, case when number = 1 then 20000 else 2500 end) as i
    join ally.brands on (brands.tenant_id, brands.name) = (company, 'Brand ' || i % 50)
    join ally.categories on (categories.tenant_id, categories.name) = (company, 'Category ' || i / 7 % 50)";

/// Of every product, for a start.
const PICTURES: [&str; 2] = [
    "insert into ally.files (tenant_id, id, module, filename, content_type, state, key, size, sha256, scanned_by, variants,
                             upload_key, upload_expires_at, reserved, uploaded_by)
     select tenant_id, id, 'products', 'a.png', 'image/png', 'ready', id::text, 1, sha256(''), 'test', '[{}]', '', now(), 0, id
       from ally.products where tenant_id = any($1)",
    "insert into ally.product_images (tenant_id, id, product_id, file_id, position, is_primary)
     select tenant_id, gen_random_uuid(), id, id, i, i = 1 from ally.products, generate_series(1, 2) as i
      where tenant_id = any($1)",
];

/// Companies that have next to nothing: the average company of the table is one of them.
const CROWD: &str = "set session_replication_role = replica;
  insert into ally.companies (tenant_id, name, nit, nit_check_digit, phone_number)
    select gen_random_uuid(), 'Crowd', nit, ally.nit_check_digit(nit), '+573001234567'
      from (select (800000000 + i)::text as nit from generate_series(1, 5000) as i) as nits;
  insert into ally.brands (tenant_id, id, name)
    select tenant_id, tenant_id, 'Brand' from ally.companies where name = 'Crowd';
  insert into ally.categories (tenant_id, id, name)
    select tenant_id, tenant_id, 'Category' from ally.companies where name = 'Crowd';
  insert into ally.products (tenant_id, id, name, sku, bar_code, brand_id, category_id, created_at)
    select tenant_id, gen_random_uuid(), 'Arroz ' || i, 'SKU-' || i, '770' || i, tenant_id, tenant_id, now() - i * interval '1 minute'
      from ally.companies, generate_series(1, 3) as i where name = 'Crowd'";

/// Plans as they arrive.
#[derive(Clone, Default)]
struct Plans(Arc<Mutex<Vec<Value>>>);

impl<S: Subscriber> Layer<S> for Plans {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        if event.metadata().target() == "sqlx::postgres::notice" {
            event.record(&mut self.clone());
        }
    }
}

impl Visit for Plans {
    fn record_str(&mut self, _: &Field, message: &str) {
        if let Some((_, plan)) = message.split_once("plan:\n") {
            self.0
                .lock()
                .expect("plans")
                .push(serde_json::from_str(plan).expect("a plan"));
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        // A message may also come formatted.
        self.record_str(field, &format!("{value:?}"));
    }
}

/// Products that the scans of a plan looked at, whether or not they kept them.
///
/// Panics at a scan of the whole table, or of that of the pictures or their files.
fn products_read(plan: &Value) -> u64 {
    let number = |name: &str| plan[name].as_f64().unwrap_or_default() as u64;
    let node = plan["Node Type"].as_str().expect("node type");
    let of_products = plan["Relation Name"] == "products"
        || plan["Index Name"]
            .as_str()
            .is_some_and(|name| name.starts_with("products_"));
    let of_pictures = plan["Relation Name"] == "product_images" || plan["Relation Name"] == "files";
    assert!(
        !((of_products || of_pictures) && node == "Seq Scan"),
        "reads the whole table: {plan:#}"
    );
    let removed = number("Rows Removed by Filter") + number("Rows Removed by Index Recheck");
    let here = if of_products && node.contains("Scan") {
        (number("Actual Rows") + removed) * number("Actual Loops")
    } else {
        0
    };
    here + plan["Plans"]
        .as_array()
        .into_iter()
        .flatten()
        .map(products_read)
        .sum::<u64>()
}

struct Explained {
    client: Client,
    plans: Plans,
}

impl Explained {
    /// Asserts that every statement of the request looks at no more products than this.
    async fn bounded(&self, most: u64, request: impl Future<Output = Answer>) -> Answer {
        self.plans.0.lock().expect("plans").clear();
        let answer = request.await;
        let plans = std::mem::take(&mut *self.plans.0.lock().expect("plans"));
        assert!(!plans.is_empty(), "no plan arrived");
        for plan in plans {
            let read = products_read(&plan["Plan"]);
            assert!(read <= most, "reads {read} products, not {most}: {plan:#}");
        }
        answer
    }

    /// Gets a list often enough for a generic plan, and its second page.
    async fn list(&self, most: u64, query: &str) {
        let mut next = None;
        for _ in 0..7 {
            let page = self
                .bounded(most, self.client.get(&format!("/products?{query}")))
                .await
                .ok();
            assert!(!page.items("id").is_empty(), "{query} finds nothing");
            next = super::next_link(&page);
        }
        if let Some(next) = next {
            for _ in 0..7 {
                self.bounded(most, self.client.get(&next)).await.ok();
            }
        }
    }
}

/// 30,000 products in five companies, and maybe a crowd of small ones beside them; the largest and a small one.
async fn companies(crowd: bool) -> (TestApp, [Explained; 2], DefaultGuard) {
    let plans = Plans::default();
    let guard = tracing::subscriber::set_default(tracing_subscriber::registry().with(plans.clone()));
    // Of one connection, so that it comes to generic plans.
    let t = TestApp::with(server::service, |config| config.database.db_app_connections = 1).await;
    let mut conn = t.superuser().await;
    sqlx::raw_sql(EXPLAIN)
        .execute(&mut conn)
        .await
        .expect("auto_explain");
    let mut clients = Vec::new();
    for name in ["a", "b", "c", "d", "e"] {
        clients.push(t.tenant(name).await);
    }
    let ids: Vec<_> = clients.iter().map(Client::company).collect();
    for statement in [BRANDS, CATEGORIES, PRODUCTS].into_iter().chain(PICTURES) {
        sqlx::query(statement)
            .bind(&ids)
            .execute(&mut conn)
            .await
            .expect(statement);
    }
    if crowd {
        sqlx::raw_sql(CROWD).execute(&mut conn).await.expect("a crowd");
    }
    sqlx::raw_sql("analyze")
        .execute(&mut conn)
        .await
        .expect("analyze");
    let of = |i: usize| Explained {
        client: clients[i].clone(),
        plans: plans.clone(),
    };
    let explained = [of(0), of(1)];
    (t, explained, guard)
}

/// A page and the row that tells whether there is another.
const PAGE: u64 = 21;

#[tokio::test]
async fn no_statement_reads_more_products_than_it_must() {
    no_statement_reads_too_much(false).await;
}

/// Plans are made for nobody in particular, and the average company of an installation is small.
#[tokio::test]
async fn nor_when_most_companies_are_small() {
    no_statement_reads_too_much(true).await;
}

async fn no_statement_reads_too_much(crowd: bool) {
    let (_t, companies, _guard) = companies(crowd).await;
    for company in companies {
        lists(&company).await;
        searches(&company).await;
        single_products(&company).await;
    }
}

async fn lists(company: &Explained) {
    let brand = company
        .client
        .get("/brands?limit=1")
        .await
        .ok()
        .items("id")
        .concat();
    let category = company
        .client
        .get("/categories?limit=1")
        .await
        .ok()
        .items("id")
        .concat();
    company.list(PAGE, "").await;
    for sort in ["name", "sku", "created_at", "price_sale"] {
        company.list(PAGE, &format!("sort={sort}")).await;
        company.list(PAGE, &format!("sort=-{sort}")).await;
    }
    company.list(PAGE, "deleted=true").await;
    company.list(PAGE, "sort=price_sale&min_price=5000").await;
    // The deleted ones stand between: a twentieth.
    company.list(2 * PAGE, &format!("brand_id={brand}")).await;
    company.list(2 * PAGE, &format!("category_id={category}")).await;
    // A fiftieth of the products, sorted.
    company
        .list(500, &format!("brand_id={brand}&sort=created_at"))
        .await;
    // 21 prices, sorted by name.
    company.list(PAGE, "min_price=5000&max_price=5200").await;
    // A tenth is not for sale.
    company.list(600, "is_active=false").await;
}

async fn searches(company: &Explained) {
    // Found by trigrams, some of which other products have too.
    for term in ["sku-1234", "7701234", "café 8"] {
        company.list(1500, &encoded("search", term)).await;
    }
    for term in ["9f", "sku-12"] {
        company.list(3000, &encoded("search", term)).await;
    }
}

async fn single_products(company: &Explained) {
    let client = &company.client;
    let brand = client.post("/brands", json!({"name": "Acme"})).await.created();
    for i in 0..7 {
        let mut product = testkit::product("Soap", &format!("SOAP-{i}"));
        product["brand_id"] = brand.id().into();
        let created = company
            .bounded(2, client.post("/products", product))
            .await
            .created();
        let path = created.header("location");
        company.bounded(2, client.get(path)).await.ok();
        company
            .bounded(2, client.patch(path, json!({"price_sale": "0.10"})))
            .await
            .ok();
        company.bounded(2, client.delete(path)).await.status(204);
        company
            .bounded(2, client.post(&format!("{path}/restore"), json!({})))
            .await
            .ok();
        company
            .bounded(2, client.delete(brand.header("location")))
            .await
            .problem(409, "brand-in-use");
    }
}
