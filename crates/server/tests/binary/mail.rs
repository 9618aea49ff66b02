//! What a worker that is killed leaves of its mails.

use std::time::{Duration, Instant};

use serde_json::json;
use sqlx::{Connection, PgConnection};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::support::{Client, External, OWNER, Program};

const LIMIT: Duration = Duration::from_secs(60);

/// A mail server that takes everything: its port, and the mails it has accepted.
async fn accepting(tasks: &mut JoinSet<()>) -> (u16, UnboundedReceiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = listener.local_addr().expect("an address").port();
    let (accepted, mails) = unbounded_channel();
    tasks.spawn(async move {
        let mut dialogues = JoinSet::new();
        while let Ok((stream, _)) = listener.accept().await {
            dialogues.spawn(dialogue(stream, accepted.clone()));
        }
    });
    (port, mails)
}

async fn dialogue(stream: TcpStream, accepted: UnboundedSender<String>) -> std::io::Result<()> {
    let (read, mut write) = stream.into_split();
    let mut lines = BufReader::new(read).lines();
    write.write_all(b"220 here\r\n").await?;
    while let Some(command) = lines.next_line().await? {
        let answer = match command.get(..4).unwrap_or_default() {
            "EHLO" => "250-here\r\n250 8BITMIME\r\n",
            "DATA" => {
                write.write_all(b"354 go on\r\n").await?;
                let mut mail = String::new();
                while let Some(line) = lines.next_line().await?.filter(|line| line != ".") {
                    mail += &line;
                    mail.push('\n');
                }
                write.write_all(b"250 accepted\r\n").await?;
                let _ = accepted.send(mail);
                continue;
            }
            "QUIT" => "221 bye\r\n",
            _ => "250 ok\r\n",
        };
        write.write_all(answer.as_bytes()).await?;
    }
    Ok(())
}

fn message_id(mail: &str) -> &str {
    let mut lines = mail.lines();
    lines
        .find_map(|line| line.strip_prefix("Message-ID: "))
        .expect("a Message-ID")
}

async fn count(conn: &mut PgConnection, query: &'static str) -> i64 {
    sqlx::query_scalar(query).fetch_one(conn).await.expect("a count")
}

/// Between the server's acceptance and our record of it nothing can be sure. The mail goes out once more, and
/// whoever gets both can tell that they are one.
#[tokio::test]
async fn a_worker_killed_after_the_server_accepted_sends_the_mail_once_more_under_the_same_id() {
    let external = External::create(false).await;
    external.program(["demo", "seed"]).run().success();
    let mut tasks = JoinSet::new();
    let (port, mut mails) = accepting(&mut tasks).await;
    let port = port.to_string();
    let program = |part| -> Program {
        external.program([part]).envs([
            ("EMAIL_SMTP_SERVER", "127.0.0.1"),
            ("EMAIL_SMTP_PORT", port.as_str()),
            ("EMAIL_USE_TLS", "false"),
            ("EMAIL_FROM", "hola@example.com"),
            ("ALLY360_JOB_LEASE_SECONDS", "2"),
        ])
    };
    let api = program("api").start();
    // What the mail ended with cannot be recorded.
    let mut conn = external.connect().await;
    let mut held = conn.begin().await.expect("a transaction");
    sqlx::query("lock table ally.mails in access exclusive mode")
        .execute(&mut *held)
        .await
        .expect("the lock");
    let worker = program("worker").spawn();
    Client::anonymous(&api.url())
        .post("/auth/request-password-reset", &json!({"email": OWNER}))
        .await
        .expect(202);
    let first = timeout(LIMIT, mails.recv())
        .await
        .expect("in time")
        .expect("a mail");
    worker.kill9();
    held.rollback().await.expect("released");
    assert_eq!(count(&mut conn, "select count(*) from ally.mails").await, 0);

    let another = program("worker").spawn();
    let second = timeout(LIMIT, mails.recv())
        .await
        .expect("in time")
        .expect("a mail");
    assert_eq!(message_id(&first), message_id(&second));
    let begun = Instant::now();
    while count(&mut conn, "select count(*) from ally.jobs where queue = 'mail'").await > 0 {
        assert!(begun.elapsed() < LIMIT, "the job does not end");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    another.stop().success();
    assert_eq!(
        count(
            &mut conn,
            "select count(*) from ally.mails where outcome = 'sent'"
        )
        .await,
        1
    );
    assert!(mails.try_recv().is_err(), "no third one");
}
