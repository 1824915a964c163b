//! `explain`: the verdict is that of a reader, and nothing is changed by asking.

use std::time::Duration;

use freshline::coherence::{CacheKey, LeaseToken, Scripts, Wanted};

use crate::house::{House, ID, run};

#[tokio::test]
async fn a_key_is_explained_before_and_after_its_row_changes_and_goes() {
    let house = House::new().await;
    let key = House::key();
    let explain = async || run(&house.stage, &["explain", &key, "--json"]).await;

    let missing = explain().await;
    assert_eq!((missing.code, missing.json()["look"]["rule"].as_str()), (Some(1), Some("missing")), "{}", missing.text);
    assert!(missing.text.contains("the next reader fills it"), "{}", missing.text);
    assert_eq!(explain().await.json()["look"]["rule"], "missing", "asking fills nothing");

    house.warm().await;
    let filled = explain().await;
    assert_eq!(filled.code, Some(0), "{}", filled.text);
    let told = filled.json();
    assert!(told["is_served"] == true && told["look"]["entry"]["snapshot"].is_string(), "{told}");
    assert!(told["row"]["is_there"] == true && told["row"]["agrees"] == true, "{told}");

    house.stage.sql(&format!("update products set price = 2 where id = '{ID}'")).await;
    house.drained().await;
    let replaced = explain().await.json();
    assert!(replaced["look"]["entry"]["lsn"].is_string(), "it was made from the change: {replaced}");
    assert!(replaced["row"]["agrees"] == true && replaced["row"]["value"]["price"] == "2.00", "{replaced}");

    house.stage.sql(&format!("delete from products where id = '{ID}'")).await;
    house.drained().await;
    let gone = explain().await;
    assert_eq!((gone.code, gone.json()["row"]["is_there"].as_bool()), (Some(1), Some(false)), "{}", gone.text);
}

#[tokio::test]
async fn a_lease_and_what_it_was_told_are_shown() {
    let house = House::new().await;
    let (key, link, stripes) = (CacheKey::new(House::key()), house.link().await, house.stripes());
    let wanted = [Wanted { key: &key, seen: None, token: LeaseToken::random() }];
    let leased = Scripts::new(&link, &stripes).lease(stripes.of(key.as_str()), &wanted, Duration::from_secs(60)).await;
    let leased = leased.expect("Redis answers").expect("the cache is open");
    // A writer that is not visible yet: its transaction is in no snapshot that could settle it.
    house.stage.sql(&format!("update products set price = 3 where id = '{ID}'")).await;
    house.drained().await;
    let told = run(&house.stage, &["explain", key.as_str(), "--json"]).await.json();
    assert_eq!(told["lease"]["generation"], leased.generation.to_string(), "{told}");
    assert!(told["lease"]["left_ms"].as_u64().is_some_and(|left| left > 1000), "{told}");
    assert_eq!(told["lease"]["told"].as_array().map(Vec::len), Some(1), "one change was applied since: {told}");
    assert!(told["verdict"].as_str().is_some_and(|verdict| verdict.contains("somebody holds the lease")), "{told}");
}

#[tokio::test]
async fn a_key_that_no_row_has_is_explained_as_well() {
    let house = House::new().await;
    for (key, said) in [
        ("products:not-a-uuid", "no such row in public.products"),
        ("something:else", "no rule makes such a key"),
        ("products:list:sort=price:category=audio:limit=20:after=%N", "products:by-price:category=audio"),
    ] {
        let ran = run(&house.stage, &["explain", key]).await;
        assert!(ran.code == Some(1) && ran.text.contains(said), "{key}: {}", ran.text);
    }
}
