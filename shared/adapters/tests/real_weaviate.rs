//! Every call of `Node` by the HTTP adapter against the server that the environment names:
//!
//! ```text
//! WEAVIATE_URL=http://127.0.0.1:8080 WEAVIATE_KEY=operator-key WEAVIATE_READER_KEY=reader-key \
//!   cargo test -p lifeboat-adapters --test real_weaviate -- --nocapture
//! ```
//!
//! It needs the module `backup-s3` with a store that works; `cargo demo --weaviate PATH --keep` gives such a server. It
//! may hold other classes, and loses none. The double passes the same calls in every run of the local stack's tests.

mod node_calls;

use node_calls::{Server, say};

#[tokio::test]
async fn a_real_server_answers_every_call_as_the_adapter_reads_it() {
    let (Ok(url), Ok(key)) = (std::env::var("WEAVIATE_URL"), std::env::var("WEAVIATE_KEY")) else {
        say("NOT RUN: no real Weaviate was asked, because WEAVIATE_URL and WEAVIATE_KEY are not both set");
        return;
    };
    let address = url.trim_start_matches("http://").trim_end_matches('/').parse();
    let address = address.expect("WEAVIATE_URL is http://<ip address>:<port>");
    node_calls::play(&Server { address, key, reader_key: std::env::var("WEAVIATE_READER_KEY").ok() }).await;
}
