//! Writes whose reader stops, and writes whose reader is slow.

use super::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};

fn paced(window: Duration, bytes_min: u64) -> (Paced<DuplexStream>, DuplexStream) {
    let (ours, theirs) = tokio::io::duplex(1_024);
    (Paced::new(ours, Pace { window, bytes_min }, |_| ()), theirs)
}

#[tokio::test]
async fn a_write_without_a_reader_ends() {
    let (mut ours, theirs) = paced(Duration::from_millis(30), 1);
    let error = ours.write_all(&[7; 4_096]).await.expect_err("it is not read");
    assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    drop(theirs);
}

#[tokio::test]
async fn a_reader_of_too_few_bytes_is_as_one_that_does_not_read() {
    let (mut ours, mut theirs) = paced(Duration::from_millis(30), 1 << 20);
    let reader = tokio::spawn(async move {
        let mut byte = [0];
        while theirs.read_exact(&mut byte).await.is_ok() {
            tokio::task::yield_now().await;
        }
    });
    // In a window of this length it does not read what it would have to, whatever the machine.
    let error = loop {
        if let Err(error) = ours.write_all(&[7; 4_096]).await {
            break error;
        }
    };
    assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    drop(ours);
    reader.await.expect("it ends with the connection");
}

#[tokio::test]
async fn time_counts_only_while_a_write_waits() {
    let (mut ours, mut theirs) = paced(Duration::from_millis(30), 2_000);
    for _ in 0..3 {
        let (sent, read) = tokio::join!(
            async {
                ours.write_all(&[7; 4_096]).await?;
                ours.flush().await
            },
            async {
                let mut all = [0; 4_096];
                theirs.read_exact(&mut all).await
            }
        );
        sent.expect("a reader that reads");
        read.expect("all of it");
        // Longer than a window, with nothing to write.
        tokio::time::timeout(Duration::from_millis(50), std::future::pending::<()>()).await.expect_err("time passes");
    }
}
