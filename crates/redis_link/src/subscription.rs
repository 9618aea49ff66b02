//! Hearing the messages of a channel.

use futures::StreamExt;
use redis::RedisResult;
use redis::aio::{PubSubSink, PubSubStream};
use tokio::time::timeout;

use crate::RedisLink;
use crate::link::{ANSWER, CONNECT, TRIED_EVERY, no_answer};

/// The messages of a channel, on a connection of its own.
pub struct Subscription {
    sink: PubSubSink,
    messages: PubSubStream,
}

impl RedisLink {
    /// Hears what is published on the channel from now on.
    ///
    /// # Errors
    /// When the server cannot be reached within a second.
    pub async fn subscribe(&self, channel: &str) -> RedisResult<Subscription> {
        let subscribed = async {
            let (mut sink, messages) = self.client().get_async_pubsub().await?.split();
            sink.subscribe(channel).await?;
            Ok(Subscription { sink, messages })
        };
        timeout(CONNECT, subscribed)
            .await
            .unwrap_or_else(|_| Err(no_answer()))
    }
}

impl Subscription {
    /// The next message. None when the connection is lost, which is noticed within seconds: then what was
    /// published is lost as well, and one subscribes again.
    pub async fn next(&mut self) -> Option<String> {
        loop {
            if let Ok(message) = timeout(TRIED_EVERY, self.messages.next()).await {
                return message?.get_payload().ok();
            }
            let answered = timeout(ANSWER, self.sink.ping::<redis::Value>()).await;
            answered.ok()?.ok()?;
        }
    }
}
