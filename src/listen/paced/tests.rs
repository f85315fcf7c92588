//! Writes whose reader stops, and writes whose reader is slow.

use super::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};

fn paced(window: Duration, bytes_min: u64) -> (PacedStream<DuplexStream>, DuplexStream) {
    let (socket, client) = tokio::io::duplex(1_024);
    (PacedStream::new(socket, WritePace { window, bytes_min }, |_| ()), client)
}

#[tokio::test]
async fn a_write_without_a_reader_fails() {
    let (mut socket, client) = paced(Duration::from_millis(30), 1);
    let error = socket.write_all(&[7; 4_096]).await.expect_err("it is not read");
    assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    drop(client);
}

#[tokio::test]
async fn a_reader_of_too_few_bytes_is_treated_as_one_that_does_not_read() {
    let (mut socket, mut client) = paced(Duration::from_millis(30), 1 << 20);
    let reader = async {
        let mut byte = [0];
        while client.read_exact(&mut byte).await.is_ok() {
            tokio::task::yield_now().await;
        }
    };
    // In a window of this length the reader cannot read the required bytes, on any machine.
    let writer = async {
        loop {
            if let Err(error) = socket.write_all(&[7; 4_096]).await {
                return error;
            }
        }
    };
    tokio::select! {
        () = reader => panic!("the connection is there"),
        error = writer => assert_eq!(error.kind(), io::ErrorKind::TimedOut),
    }
}

#[tokio::test]
async fn time_counts_only_while_a_write_waits() {
    let (mut socket, mut client) = paced(Duration::from_millis(30), 2_000);
    for _ in 0..3 {
        let (sent, read) = tokio::join!(
            async {
                socket.write_all(&[7; 4_096]).await?;
                socket.flush().await
            },
            async {
                let mut all = [0; 4_096];
                client.read_exact(&mut all).await
            }
        );
        sent.expect("a reader that reads");
        read.expect("all of it");
        // Longer than a window, with nothing to write.
        tokio::time::timeout(Duration::from_millis(50), std::future::pending::<()>()).await.expect_err("time passes");
    }
}
