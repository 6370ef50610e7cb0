use super::*;

#[tokio::test]
async fn every_call_but_ready_and_live_carries_the_key() {
    let server = Server::replying([Reply::new(200, ""), Reply::new(200, ""), recorded("meta")]).await;
    let n = node(&server);
    assert!(n.ready().await.unwrap() && n.live().await.unwrap());
    n.meta().await.unwrap();
    let kept = format!("{:?}", n.keys.cached);
    assert!(kept.contains("Secret(…)") && !kept.contains("wvk-1"), "{kept}");
    let asked = server.asked();
    assert_eq!(asked[0].line, "GET /v1/.well-known/ready");
    assert_eq!(asked[1].line, "GET /v1/.well-known/live");
    assert_eq!((asked[0].header("authorization"), asked[1].header("authorization")), (None, None));
    assert_eq!(asked[2].header("authorization"), Some("Bearer wvk-1"));
}

#[tokio::test]
async fn a_node_that_says_503_is_not_ready_and_anything_else_is_no_answer() {
    let server = Server::replying([Reply::new(503, ""), Reply::new(500, ""), Reply::Lost]).await;
    let n = node(&server);
    assert!(!n.ready().await.unwrap());
    assert!(n.ready().await.is_err());
    assert!(n.ready().await.is_err());
}

#[tokio::test]
async fn a_key_that_was_changed_is_read_again_once_and_then_kept() {
    let server = Server::replying([recorded("auth-badkey"), recorded("meta"), recorded("meta")]).await;
    let n = node_with(&server, &["old", "new"]);
    n.meta().await.unwrap();
    n.meta().await.unwrap();
    let sent: Vec<String> = server.asked().iter().map(|a| a.header("authorization").unwrap().to_owned()).collect();
    assert_eq!(sent, ["Bearer old", "Bearer new", "Bearer new"]);
}

#[tokio::test]
async fn a_key_that_is_refused_for_good_is_unauthorized() {
    let server = Server::replying([recorded("auth-badkey"), recorded("auth-nodes-nokey")]).await;
    let error = node_with(&server, &["old", "new"]).nodes().await.unwrap_err();
    assert!(matches!(error, NodeError::Unauthorized { status: 401, .. }), "{error}");
    // The same key again would be refused again: it is not sent.
    let server = Server::replying([recorded("auth-badkey")]).await;
    let error = node_with(&server, &["old"]).nodes().await.unwrap_err();
    assert!(error.to_string().contains("invalid api key"), "{error}");
    assert_eq!(server.asked().len(), 1);
}

#[tokio::test]
async fn a_key_that_cannot_be_read_or_sent_is_no_answer_and_never_shown() {
    let server = Server::replying([]).await;
    let error = node_with(&server, &[]).meta().await.unwrap_err();
    assert!(matches!(&error, NodeError::Unknown { detail, .. } if detail.contains("AccessDenied")), "{error}");
    let error = node_with(&server, &["wvk\u{1}secret"]).meta().await.unwrap_err();
    assert!(matches!(&error, NodeError::Unknown { detail, .. } if !detail.contains("secret")), "{error}");
    assert!(server.asked().is_empty());
}

#[tokio::test]
async fn a_reply_over_its_bound_is_no_answer() {
    let server = Server::replying([Reply::new(200, vec![b' '; request::SMALL_BYTES + 1])]).await;
    let error = node(&server).backup_status(&backup("b")).await.unwrap_err();
    assert!(error.to_string().contains("is over"), "{error}");
}

#[tokio::test]
async fn a_lost_or_cut_reply_is_no_answer() {
    let server = Server::replying([Reply::Lost, Reply::Cut(200, 99, b"{\"version\":\"1".to_vec())]).await;
    let n = node(&server);
    assert!(matches!(n.meta().await, Err(NodeError::Unknown { .. })));
    assert!(matches!(n.meta().await, Err(NodeError::Unknown { .. })));
}

#[tokio::test(start_paused = true)]
async fn a_node_that_never_answers_is_given_up_after_the_calls_timeout() {
    let server = Server::replying([Reply::Silence]).await;
    let error = node(&server).create_backup(&backup("b"), &["C".to_owned()]).await.unwrap_err();
    assert!(matches!(&error, NodeError::Unknown { .. }), "{error}");
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let to = vec![("Location", "http://127.0.0.1:1/".to_owned())];
    let server = Server::replying([Reply::With(302, to, vec![])]).await;
    let error = node(&server).meta().await.unwrap_err();
    assert!(matches!(&error, NodeError::Unknown { detail, .. } if detail.starts_with("302")), "{error}");
}

#[tokio::test]
async fn each_call_opens_its_own_connection() {
    // The server closes each after one reply, so a pooled one would fail the second call.
    let server = replaying(&["meta", "meta"]).await;
    let n = node(&server);
    assert!(n.meta().await.is_ok() && n.meta().await.is_ok());
}

#[tokio::test]
async fn an_address_that_is_no_ip_is_never_asked() {
    let keys = Keys { keys: vec!["wvk-1"], reads: AtomicUsize::new(0) };
    for address in ["", "example.com", "10.0.0.1:80", "10.0.0.1/x"] {
        let error = HttpNodes::new(Keys { keys: vec!["k"], reads: AtomicUsize::new(0) }).at(address).ready().await;
        assert!(matches!(error, Err(NodeError::Unknown { .. })), "{address}");
    }
    let nodes = HttpNodes::new(keys);
    assert_eq!(nodes.at("10.0.0.7").base.as_deref(), Ok("http://10.0.0.7:8080"));
    assert_eq!(nodes.at("fd00::7").base.as_deref(), Ok("http://[fd00::7]:8080"));
}
