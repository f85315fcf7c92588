//! Tests that each fault does what it says, and only that.

use super::{Bucket, FaultRates, Handle, Network};
use crate::rng::Rng;
use futures::TryStreamExt;
use object_store::{Error, ObjectStore, ObjectStoreExt, PutMode, PutOptions, PutResult, path::Path};
use std::{sync::Arc, time::Duration};
use tokio::time::{Instant, sleep, timeout};

fn handle(bucket: &Arc<Bucket>, fault_rates: FaultRates) -> Handle {
    Handle::new(bucket, Rng::new(1, 1), fault_rates)
}

async fn create(handle: &Handle, name: &str) -> object_store::Result<PutResult> {
    let options = PutOptions { mode: PutMode::Create, ..PutOptions::default() };
    handle.put_opts(&Path::from(name), name.as_bytes().to_vec().into(), options).await
}

#[tokio::test(start_paused = true)]
async fn a_name_is_created_once() {
    let bucket = Bucket::new();
    let handle = handle(&bucket, FaultRates::default());
    create(&handle, "p/a").await.unwrap();
    assert!(matches!(create(&handle, "p/a").await, Err(Error::AlreadyExists { .. })));
    let got = handle.get(&Path::from("p/a"), Default::default()).await.unwrap().bytes().await.unwrap();
    assert_eq!(&got[..], b"p/a");
    assert_eq!(bucket.names("p").await, ["p/a"]);
}

#[tokio::test(start_paused = true)]
async fn an_error_may_hide_a_success() {
    let bucket = Bucket::new();
    assert!(create(&handle(&bucket, FaultRates { fails_before: 1000, ..FaultRates::default() }), "a").await.is_err());
    assert!(bucket.names("").await.is_empty());
    let conflict = create(&handle(&bucket, FaultRates { conflicts: 1000, ..FaultRates::default() }), "a").await;
    assert!(matches!(conflict, Err(Error::AlreadyExists { .. })));
    assert!(bucket.names("").await.is_empty());
    let after = create(&handle(&bucket, FaultRates { fails_after: 1000, ..FaultRates::default() }), "a").await;
    assert!(matches!(after, Err(Error::Generic { .. })));
    assert_eq!(bucket.names("").await, ["a"]);
    bucket.stop_faults();
    create(&handle(&bucket, FaultRates { fails_before: 1000, ..FaultRates::default() }), "b").await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_stall_takes_hours_of_simulated_time() {
    let (bucket, begun) = (Bucket::new(), Instant::now());
    let handle = handle(&bucket, FaultRates { stalls: 1000, ..FaultRates::default() });
    for n in 0..20 {
        create(&handle, &format!("{n}")).await.unwrap();
    }
    assert!(begun.elapsed() > Duration::from_secs(3600));
}

#[tokio::test(start_paused = true)]
async fn a_frozen_process_neither_sends_nor_receives() {
    let bucket = Bucket::new();
    let handle = handle(&bucket, FaultRates::default());
    handle.freeze();
    let mut put = Box::pin(create(&handle, "a"));
    assert!(timeout(Duration::from_secs(9), &mut put).await.is_err());
    assert!(bucket.names("").await.is_empty());
    handle.thaw();
    put.await.unwrap();
    // Frozen while a request is in flight: the request arrives, and the answer waits.
    let mut put = Box::pin(create(&handle, "b"));
    assert!(futures::poll!(&mut put).is_pending());
    handle.freeze();
    assert!(timeout(Duration::from_secs(9), &mut put).await.is_err());
    assert_eq!(bucket.names("").await, ["a", "b"]);
    handle.thaw();
    put.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn what_a_killed_process_sent_arrives_late_or_never() {
    let bucket = Bucket::new();
    let handle = handle(&bucket, FaultRates::default());
    let mut puts: Vec<_> = (0..40)
        .map(|n| {
            let handle = handle.clone();
            Box::pin(async move { create(&handle, &format!("{n}")).await })
        })
        .collect();
    for put in &mut puts {
        assert!(futures::poll!(put).is_pending());
    }
    handle.kill();
    handle.thaw();
    assert!(timeout(Duration::from_secs(1), futures::future::select_all(puts)).await.is_err());
    let early = bucket.names("").await.len();
    sleep(Duration::from_secs(100_000)).await;
    let late = bucket.names("").await.len();
    assert!(early < late && (10..35).contains(&late), "{early}, then {late} of 40");
}

#[tokio::test(start_paused = true)]
async fn a_network_drops_requests_or_answers() {
    let bucket = Bucket::new();
    let handle = handle(&bucket, FaultRates::default());
    handle.cut(Network::DropRequests);
    assert!(create(&handle, "a").await.is_err());
    handle.cut(Network::DropAnswers);
    assert!(create(&handle, "b").await.is_err());
    handle.cut(Network::Whole);
    create(&handle, "c").await.unwrap();
    assert_eq!(bucket.names("").await, ["b", "c"]);
}

#[tokio::test(start_paused = true)]
async fn a_listing_has_no_order_and_takes_a_while() {
    let bucket = Bucket::new();
    let (reader, writer) = (handle(&bucket, FaultRates::default()), handle(&bucket, FaultRates::default()));
    for n in 10..20 {
        create(&writer, &format!("p/{n}")).await.unwrap();
    }
    let (mut unsorted, mut sizes) = (0, std::collections::BTreeSet::new());
    for round in 0..30 {
        let read = async { reader.list(Some(&Path::from("p"))).try_collect::<Vec<_>>().await.unwrap() };
        let (name, other) = (format!("p/new-{round}"), format!("p/{}", 10 + round % 10));
        let (listed, ..) =
            tokio::join!(read, create(&writer, &name), async { writer.delete(&Path::from(other)).await });
        let names: Vec<String> = listed.iter().map(|meta| meta.location.to_string()).collect();
        unsorted += u32::from(!names.is_sorted());
        let (new, old) = (names.iter().filter(|n| n.contains("new")).count(), names.len());
        assert!(new >= round, "what stood there before is in it");
        sizes.insert((new - round, old - new));
    }
    assert!(unsorted > 20);
    assert!(sizes.iter().any(|(new, _)| *new == 0) && sizes.iter().any(|(new, _)| *new == 1), "{sizes:?}");
    let top = reader.list_with_delimiter(None).await.unwrap();
    assert_eq!((top.common_prefixes, top.objects.len()), (vec![Path::from("p")], 0));
}

#[tokio::test(start_paused = true)]
async fn deleting_a_missing_object_may_or_may_not_fail() {
    let handle = handle(&Bucket::new(), FaultRates::default());
    let mut not_found = 0;
    for _ in 0..40 {
        match handle.delete(&Path::from("nothing")).await {
            Ok(()) => {}
            Err(Error::NotFound { .. }) => not_found += 1,
            Err(other) => panic!("{other}"),
        }
    }
    assert!((5..35).contains(&not_found));
}
