//! Bodies that arrive slowly, announce a wrong length, or arrive in large numbers.

use super::*;
use bytes::Bytes;
use futures::{StreamExt, stream};
use kernel::Incarnation;
use std::io;

fn bodies(all: usize, max: usize) -> BodyPool {
    let pace = BodyPace { window: Duration::from_millis(40), bytes_min: 1_000, total: Duration::from_secs(60) };
    BodyPool { pool: SharePool::new(all, 1), max, pace }
}

fn tenant(n: u8) -> ShareHolder {
    ShareHolder::Tenant(Incarnation::from_bytes([n; 16]))
}

/// A body of pieces, each sent after a pause.
fn pieces(count: usize, bytes: usize, pause: Duration) -> Body {
    let piece = move |_| async move {
        tokio::time::sleep(pause).await;
        Ok::<_, io::Error>(Bytes::from(vec![b' '; bytes]))
    };
    Body::from_stream(stream::iter(0..count).then(piece))
}

#[tokio::test]
async fn a_slow_body_is_refused_and_a_steady_one_is_not() {
    let bodies = bodies(1 << 20, 1 << 20);
    let slow = bodies.read(tenant(1), &mut pieces(1_000, 1, Duration::from_millis(5))).await.err();
    let error = slow.expect("refused");
    assert!(error.code == Code::InvalidRequest && error.message.contains("too slowly"), "{error}");
    let steady = bodies.read(tenant(1), &mut pieces(50, 900, Duration::from_millis(1))).await.expect("arrives");
    assert_eq!(steady.length(), 45_000);
    // A fast beginning is no credit for later.
    let first = stream::iter([Ok::<_, io::Error>(Bytes::from(vec![b' '; 500_000]))]);
    let stalls = Body::from_stream(first.chain(stream::pending()));
    assert!(bodies.read(tenant(1), &mut { stalls }).await.is_err());
}

#[tokio::test]
async fn bodies_of_one_caller_take_half_of_the_memory_and_leave_some_for_each_other() {
    let bodies = bodies(1_024, 400);
    let small = || Body::from(vec![b' '; 100]);
    let mut held = Vec::new();
    for _ in 0..5 {
        held.push(bodies.read(tenant(1), &mut small()).await.expect("up to half"));
    }
    let error = bodies.read(tenant(1), &mut small()).await.err().expect("more than half");
    assert_eq!((error.code, error.retry_after.is_some()), (Code::RateLimited, true));
    held.push(bodies.read(tenant(2), &mut small()).await.expect("another's first"));
    held.push(bodies.read(tenant(3), &mut small()).await.expect("a third's"));
    let large = bodies.read(tenant(4), &mut Body::from(vec![b' '; 400])).await.err().expect("no room for so much");
    assert_eq!(large.code, Code::Overloaded);
    drop(held);
    bodies.read(tenant(4), &mut Body::from(vec![b' '; 400])).await.expect("everything was returned");
}

#[tokio::test]
async fn a_body_takes_memory_for_what_arrived_and_no_more_than_it_announced() {
    let bodies = bodies(8 << 20, 1 << 20);
    let read = bodies.read(tenant(1), &mut Body::from(vec![b' '; 300_000])).await.expect("arrives");
    assert_eq!(read.capacity, 300_000);
    let too_large = bodies.read(tenant(1), &mut Body::from(vec![b' '; (1 << 20) + 1])).await.err().expect("too large");
    assert!(too_large.code == Code::TooLarge && too_large.message.contains("1 MiB"), "{too_large}");
    assert_eq!(too_large.param.as_deref(), Some("body"));
    // A body of unknown length is refused as soon as it exceeds the limit.
    let endless = bodies.read(tenant(1), &mut pieces(usize::MAX, 100_000, Duration::ZERO)).await;
    assert_eq!(endless.err().expect("too large").code, Code::TooLarge);
    assert_eq!(bodies.read(tenant(2), &mut Body::empty()).await.expect("nothing").length(), 0);
}

#[tokio::test]
async fn a_body_is_whole_in_whatever_frames_it_came() {
    let bodies = bodies(64 << 20, 16 << 20);
    for frames in
        [&[0usize][..], &[1], &[70_000, 0, 1], &[65_536, 262_144, 262_144], &[3, 1 << 20, 5, 2 << 20, 400_000]]
    {
        let mut left = Vec::new();
        for (n, length) in frames.iter().enumerate() {
            left.push(Ok::<_, io::Error>(Bytes::from((0..*length).map(|at| (at * 7 + n) as u8).collect::<Vec<_>>())));
        }
        let sent: Vec<u8> = left.iter().flat_map(|frame| frame.as_ref().expect("a frame").to_vec()).collect();
        let read = bodies.read(tenant(1), &mut Body::from_stream(stream::iter(left))).await.expect("arrives");
        assert!(read.held.pieces.iter().all(|piece| piece.len() <= (2 << 20)), "no piece was grown");
        assert_eq!((read.length(), read.join().0 == sent), (sent.len(), true), "{frames:?}");
    }
}

#[tokio::test]
async fn memory_is_returned_when_the_pieces_are_freed_and_not_earlier() {
    let bodies = bodies(64 << 20, 16 << 20);
    let large = || Body::from(vec![b' '; 8 << 20]);
    let (total, share) = bodies.read(tenant(1), &mut large()).await.expect("arrives").join();
    assert_eq!((total.capacity(), bodies.pool.held()), (8 << 20, 8 << 20));
    drop(share);
    assert_eq!(bodies.pool.held(), 0);
    let refused = bodies.read(tenant(1), &mut Body::from(vec![b' '; (16 << 20) + 1])).await;
    assert!(refused.is_err());
    drop(bodies.read(tenant(1), &mut large()).await);
    // The pieces are freed on another thread.
    while bodies.pool.held() > 0 {
        tokio::task::yield_now().await;
    }
}

#[test]
fn planes_share_no_memory_for_bodies() {
    let (tenants, operators) = (BodyPool::of(Plane::Data), BodyPool::of(Plane::Control));
    assert!(!Arc::ptr_eq(&tenants.pool, &operators.pool));
    assert!(operators.max < tenants.max);
}
