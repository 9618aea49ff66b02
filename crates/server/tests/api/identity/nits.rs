//! The NIT: its forms, and its check digit here and in the database.

use super::{company, fault};
use crate::app;

#[tokio::test]
async fn a_nit_is_taken_in_every_usual_form() {
    let t = app().await;
    let user = t.user("ana").await;
    for (given, digits, check_digit) in [
        ("900123456", "900123456", "8"),
        ("900123456-8", "900123456", "8"),
        ("900.123.456-8", "900123456", "8"),
        (" 900 123 456 - 8 ", "900123456", "8"),
        ("899999068-1", "899999068", "1"),
        ("860.002.964", "860002964", "4"),
        ("123456", "123456", ""),
        ("999999999999999", "999999999999999", ""),
    ] {
        let mut body = company("Acme");
        body["nit"] = given.into();
        let created = user.post("/company", body).await.created().json;
        assert_eq!(created["nit"], digits, "{given}");
        let expected = identity::nit_check_digit(digits).expect("digits").to_string();
        assert_eq!(created["nit_check_digit"], expected);
        assert!(check_digit.is_empty() || check_digit == expected);
    }
    for wrong in ["900123456-1", "900.123.456-0", "899999068-2"] {
        let mut body = company("Acme");
        body["nit"] = wrong.into();
        let refused = user
            .post("/company", body)
            .await
            .problem(422, "nit-check-digit-wrong");
        assert_eq!(fault(&refused).0, "/nit");
    }
    for malformed in [
        "",
        "12345",
        "0123456789",
        "1234567890123456",
        "90012345X",
        "900123456-",
        "900123456-88",
        "9-8",
        "٩٠٠١٢٣٤٥٦",
    ] {
        let mut body = company("Acme");
        body["nit"] = malformed.into();
        let refused = user
            .post("/company", body)
            .await
            .problem(422, "validation-failed");
        assert_eq!(fault(&refused), ("/nit", "nit"), "{malformed}");
    }
}

#[tokio::test]
async fn the_database_knows_the_check_digit_as_well() {
    let t = app().await;
    let mut conn = t.superuser().await;
    let seed: u64 = t.app.clock.unix().unsigned_abs();
    // A linear congruential generator: any spread of digits and lengths will do.
    let numbers = std::iter::successors(Some(seed), |n| {
        Some(
            n.wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407),
        )
    });
    let nits: Vec<String> = numbers
        .skip(1)
        .take(1000)
        .map(|n| {
            let digits = format!("{}{:018}", 1 + n % 9, (n >> 10) % 1_000_000_000_000_000_000);
            digits[..6 + (n >> 32) as usize % 10].to_owned()
        })
        .collect();
    let digits: Vec<String> = sqlx::query_scalar(
        "select ally.nit_check_digit(n) from unnest($1::text[]) with ordinality as t (n, i) order by i",
    )
    .bind(&nits)
    .fetch_all(&mut conn)
    .await
    .expect("check digits");
    assert_eq!(digits.len(), 1000);
    for (nit, digit) in nits.iter().zip(&digits) {
        let expected = identity::nit_check_digit(nit).expect("digits").to_string();
        assert_eq!(*digit, expected, "NIT {nit}, seed {seed}");
    }
    for (nit, digit) in nits.iter().zip(&digits).take(20) {
        for candidate in '0'..='9' {
            let inserted = sqlx::query(
                "insert into ally.companies (tenant_id, name, nit, nit_check_digit, phone_number)
                 values ($1, 'Acme', $2, $3, '+573001234567')",
            )
            .bind(kernel::ids::new_id())
            .bind(nit)
            .bind(candidate.to_string())
            .execute(&mut conn)
            .await;
            let violated = inserted.err().and_then(|e| {
                e.as_database_error()
                    .and_then(|db| db.constraint().map(ToOwned::to_owned))
            });
            let expected = (candidate.to_string() != *digit).then_some("companies_nit_check_digit");
            assert_eq!(
                violated.as_deref(),
                expected,
                "NIT {nit}-{candidate}, seed {seed}"
            );
        }
    }
}
