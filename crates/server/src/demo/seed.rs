//! Writing the demo companies. Ids and times follow from names, so every installation has the same,
//! and seeding again changes nothing.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use kernel::app::App;
use kernel::caller::{Caller, UserCaller};
use kernel::db::TenantTx;
use kernel::error::Result;
use kernel::permissions;
use kernel::types::Money;
use uuid::{Uuid, uuid};

use super::assortment::{Category, Product};
use super::{bakery, supermarket};

permissions! {
    /// Write demo data; no role has it.
    DemoSeed = "demo.seed";
}

/// The guide's company.
pub const SUPERMARKET: Uuid = uuid!("550e8400-e29b-41d4-a716-446655440000");
const BAKERY: Uuid = uuid!("550e8400-e29b-41d4-a716-446655440001");
/// Password of all demo users, the guide's.
pub const PASSWORD: &str = "password123";

/// A demo user: e-mail, first and last name, roles by company.
pub type DemoUser = (
    &'static str,
    &'static str,
    &'static str,
    &'static [(Uuid, &'static str)],
);

/// The demo users.
pub const USERS: &[DemoUser] = &[
    (
        "user@example.com",
        "Andrea",
        "Quintero",
        &[(SUPERMARKET, "owner")],
    ),
    ("caja@example.com", "Luis", "Mejía", &[(SUPERMARKET, "cashier")]),
    ("panadera@example.com", "Marta", "Rojas", &[(BAKERY, "owner")]),
    (
        "contador@example.com",
        "Jorge",
        "Salcedo",
        &[(SUPERMARKET, "accountant"), (BAKERY, "admin")],
    ),
];

struct Company {
    id: Uuid,
    name: &'static str,
    trade_name: &'static str,
    nit: &'static str,
    address: &'static str,
    phone_number: &'static str,
    brands: &'static [&'static str],
    categories: &'static [Category],
    products: Vec<Product>,
}

fn companies() -> [Company; 2] {
    [
        Company {
            id: SUPERMARKET,
            name: "Supermercado La Esquina S.A.S.",
            trade_name: "La Esquina",
            nit: "900123456",
            address: "Calle 45 # 13-27, Bogotá",
            phone_number: "+573001234567",
            brands: &supermarket::BRANDS,
            categories: &supermarket::CATEGORIES,
            products: supermarket::products(),
        },
        Company {
            id: BAKERY,
            name: "Panadería y Café El Trigal S.A.S.",
            trade_name: "El Trigal",
            nit: "901886184",
            address: "Carrera 70 # 44-12, Medellín",
            phone_number: "+573109876543",
            brands: &bakery::BRANDS,
            categories: &bakery::CATEGORIES,
            products: bakery::products(),
        },
    ]
}

/// The id that a name has within a company (UUID version 5).
fn id_of(company: Uuid, kind: &str, name: &str) -> Uuid {
    Uuid::new_v5(&company, format!("{kind}/{name}").as_bytes())
}

fn user_id(email: &str) -> Uuid {
    Uuid::new_v5(&SUPERMARKET, email.as_bytes())
}

/// Creates the demo users and companies; what is there already stays as it is.
///
/// # Errors
/// Those of the database.
pub async fn seed(app: &App) -> anyhow::Result<()> {
    if complete(app).await? {
        return Ok(());
    }
    let passwords = identity::Passwords::new(&app.config.auth);
    let hashes = USERS.iter().map(|_| passwords.hash(PASSWORD.to_owned()));
    let hashes = futures::future::try_join_all(hashes).await?;
    let companies = companies();
    people_and_companies(app, &hashes, &companies).await?;
    for company in &companies {
        catalog(app, company).await?;
    }
    Ok(())
}

/// Whether the seed ran to its end: the second company's last product is written last.
async fn complete(app: &App) -> Result<bool> {
    let Some(last) = bakery::products().pop() else {
        return Ok(true);
    };
    let mut tx = TenantTx::<DemoSeed>::begin(&app.db, seeder(BAKERY)).await?;
    let found = sqlx::query_scalar!(
        r#"select exists (select from products where id = $1) as "found!""#,
        id_of(BAKERY, "product", &last.sku)
    );
    Ok(found.fetch_one(&mut *tx).await?)
}

fn seeder(tenant_id: Uuid) -> Caller {
    let user = UserCaller {
        user_id: user_id(USERS[0].0),
        session_id: Uuid::nil(),
    };
    Caller {
        user,
        api_key: None,
        tenant_id,
        role: "owner",
        grants: Arc::new(BTreeSet::from(["demo.seed"])),
        suspended: false,
        limits: kernel::limit::Overrides::default(),
    }
}

#[expect(clippy::disallowed_methods, reason = "users and companies are global")]
async fn people_and_companies(app: &App, hashes: &[String], companies: &[Company]) -> Result<()> {
    let mut tx = app.db.system().await?;
    for ((email, first_name, last_name, _), hash) in USERS.iter().zip(hashes) {
        sqlx::query!(
            "insert into users (id, email, password_hash, first_name, last_name, email_verified_at, created_at)
             values ($1, $2, $3, $4, $5, '2026-01-05 13:00Z', '2026-01-05 13:00Z') on conflict do nothing",
            user_id(email),
            email,
            hash,
            first_name,
            last_name
        )
        .execute(&mut *tx)
        .await?;
    }
    for company in companies {
        sqlx::query!(
            "insert into companies (tenant_id, name, trade_name, nit, nit_check_digit, address, phone_number, created_at)
             values ($1, $2, $3, $4, nit_check_digit($4), $5, $6, '2026-01-05 13:00Z') on conflict do nothing",
            company.id,
            company.name,
            company.trade_name,
            company.nit,
            company.address,
            company.phone_number
        )
        .execute(&mut *tx)
        .await?;
    }
    for (email, .., roles) in USERS {
        for (company, role) in *roles {
            // Whoever registered a demo address himself keeps his account and gets no demo company.
            sqlx::query!(
                "insert into memberships (tenant_id, user_id, role, created_at)
                 select $1, id, $3, '2026-01-05 13:00Z' from users where id = $2 on conflict do nothing",
                company,
                user_id(email),
                role
            )
            .execute(&mut *tx)
            .await?;
        }
    }
    tx.commit().await
}

async fn catalog(app: &App, company: &Company) -> Result<()> {
    let mut tx = TenantTx::<DemoSeed>::begin(&app.db, seeder(company.id)).await?;
    let of = |kind: &str, names: &[&str]| {
        names
            .iter()
            .map(|name| id_of(company.id, kind, name))
            .collect::<Vec<_>>()
    };
    let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
    sqlx::query!(
        "insert into brands (id, name, created_at)
         select id, name, '2026-01-05 13:00Z'::timestamptz + n * interval '1 minute'
           from unnest($1::uuid[], $2::text[]) with ordinality as new (id, name, n) on conflict do nothing",
        &of("brand", company.brands),
        &owned(company.brands)
    )
    .execute(&mut *tx)
    .await?;
    let names: Vec<&str> = company.categories.iter().map(|c| c.name).collect();
    let descriptions: Vec<&str> = company.categories.iter().map(|c| c.description).collect();
    sqlx::query!(
        "insert into categories (id, name, description, created_at)
         select id, name, description, '2026-01-05 13:00Z'::timestamptz + n * interval '1 minute'
           from unnest($1::uuid[], $2::text[], $3::text[]) with ordinality as new (id, name, description, n)
             on conflict do nothing",
        &of("category", &names),
        &owned(&names),
        &owned(&descriptions)
    )
    .execute(&mut *tx)
    .await?;

    let products = &company.products;
    let texts =
        |field: fn(&Product) -> &str| products.iter().map(|p| field(p).to_owned()).collect::<Vec<_>>();
    let ids = |kind: &str, field: fn(&Product) -> &str| {
        products
            .iter()
            .map(|p| id_of(company.id, kind, field(p)))
            .collect::<Vec<_>>()
    };
    let bar_codes: Vec<Option<String>> = products.iter().map(|p| p.bar_code.clone()).collect();
    sqlx::query!(
        "insert into products (id, sku, name, description, bar_code, brand_id, category_id, unit_of_measure, price_base,
                               price_sale, created_at)
         select id, sku, name, description, bar_code, brand_id, category_id, unit, base, sale,
                '2026-01-05 14:00Z'::timestamptz + n * interval '1 minute'
           from unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::text[], $6::uuid[], $7::uuid[], $8::text[],
                       $9::text[]::numeric[], $10::text[]::numeric[]) with ordinality
             as new (id, sku, name, description, bar_code, brand_id, category_id, unit, base, sale, n)
             on conflict do nothing",
        &ids("product", |p| &p.sku),
        &texts(|p| &p.sku),
        &texts(|p| &p.name),
        &texts(|p| &p.description),
        &bar_codes as _,
        &ids("brand", |p| p.brand),
        &ids("category", |p| p.category),
        &texts(|p| p.unit_of_measure),
        &products.iter().map(|p| Money::from_cents(p.price_base_cents).to_string()).collect::<Vec<_>>(),
        &products.iter().map(|p| Money::from_cents(p.price_sale_cents).to_string()).collect::<Vec<_>>()
    )
    .execute(&mut *tx)
    .await?;
    tx.commit().await
}

/// Tells, on standard error, how to try the server that just started.
pub fn greet(address: SocketAddr, data_dir: &Path) {
    use std::io::Write;
    let data = std::path::absolute(data_dir).unwrap_or_else(|_| data_dir.to_owned());
    let mut text = format!(
        "\n  Ally360   http://{address}\n  API docs  http://{address}/docs\n  Data      {}\n\n",
        data.display()
    );
    text += &format!("  Demo logins (password {PASSWORD}):\n");
    for (email, .., roles) in USERS {
        for (company, role) in *roles {
            text += &format!("    {email:<22} {role:<11} X-Company-ID: {company}\n");
        }
    }
    let _ = writeln!(std::io::stderr(), "{text}");
}
