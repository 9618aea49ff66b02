//! Redis as the program is told of it: never waited for, examined by the doctor.

use testkit::RedisServer;

use crate::support::{Client, External};

#[tokio::test]
async fn a_server_that_is_not_there_keeps_nobody_from_serving_and_is_told() {
    let external = External::create(false).await;
    external.program(["demo", "seed"]).run().success();
    let mut redis = RedisServer::start(&[]);
    let socket = redis.socket().display().to_string();
    let with_redis = |command| {
        external
            .program([command])
            .envs([("REDIS_HOST", socket.as_str()), ("ALLY360_START_SECONDS", "1")])
    };

    let report = with_redis("doctor").run().success();
    assert!(
        report.stdout.contains("ok    redis       Redis "),
        "{}",
        report.stdout
    );
    redis.kill();
    let report = with_redis("doctor").run();
    assert_eq!(report.code, Some(1));
    let line = "FAIL  redis       Redis cannot be used";
    assert!(report.stdout.contains(line), "{}", report.stdout);

    let server = with_redis("serve").start();
    for told in ["waiting: Redis cannot be used", "going on without"] {
        assert!(server.stderr().contains(told), "{told}: {}", server.stderr());
    }
    let client = Client::owner(&server.url()).await;
    client.get("/products").await.expect(200);
    let ready = client.get("/health/ready").await.expect(200).json();
    assert_eq!(ready["status"], "degraded", "{ready}");
    server.stop().success();
}
