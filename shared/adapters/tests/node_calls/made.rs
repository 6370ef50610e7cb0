//! What the calls are made about: four classes with objects, three tenants, an alias; written by plain HTTP.

use lifeboat_domain::ids::{BackupId, uuid_of};
use lifeboat_workflows::ports::node::Place;
use reqwest::Method;
use serde_json::{Value, json};

use super::Server;

/// The names of this run, and the way to the server.
pub(crate) struct Made {
    base: String,
    key: String,
    run: u32,
    pub(crate) article: String,
    pub(crate) named: String,
    pub(crate) tenanted: String,
    pub(crate) vacant: String,
    pub(crate) alias: String,
}

impl Made {
    /// Objects of the class without tenants.
    pub(crate) const ARTICLES: usize = 30;
    /// Objects of the tenant `hot`; `cold` has as many, `bare` none.
    pub(crate) const HOT: usize = 12;

    /// Makes everything.
    pub(crate) async fn on(server: &Server) -> Self {
        let run = std::process::id();
        let name = |class: &str| format!("{class}{run}");
        let made = Self {
            base: format!("http://{}", server.address),
            key: server.key.clone(),
            run,
            article: name("Article"),
            named: name("Named"),
            tenanted: name("Tenanted"),
            vacant: name("Vacant"),
            alias: name("Alias"),
        };
        made.classes().await;
        made.objects(&made.article, None, Self::ARTICLES).await;
        made.objects(&made.named, None, Self::HOT).await;
        for tenant in ["hot", "cold"] {
            made.objects(&made.tenanted, Some(tenant), Self::HOT).await;
        }
        let cold = json!([{"name": "cold", "activityStatus": "INACTIVE"}]);
        made.call(Method::PUT, &format!("/v1/schema/{}/tenants", made.tenanted), &cold).await;
        made
    }

    async fn classes(&self) {
        let text =
            |name: &str, tokenization: &str| json!({"name": name, "dataType": ["text"], "tokenization": tokenization});
        let class = |name: &str| {
            json!({"class": name, "vectorizer": "none", "properties": [
                text("title", "word"), text("code", "field"), {"name": "n", "dataType": ["int"]},
                {"name": "half", "dataType": ["number"]}, {"name": "even", "dataType": ["boolean"]}]})
        };
        let mut named = class(&self.named);
        let vector = json!({"vectorizer": {"none": {}}, "vectorIndexType": "hnsw"});
        named["vectorConfig"] = json!({"long": vector, "short": vector});
        named.as_object_mut().unwrap().remove("vectorizer");
        let mut tenanted = class(&self.tenanted);
        tenanted["multiTenancyConfig"] = json!({"enabled": true});
        for definition in [class(&self.article), named, tenanted, class(&self.vacant)] {
            self.call(Method::POST, "/v1/schema", &definition).await;
        }
        let tenants = json!([{"name": "hot"}, {"name": "cold"}, {"name": "bare"}]);
        self.call(Method::POST, &format!("/v1/schema/{}/tenants", self.tenanted), &tenants).await;
        self.call(Method::POST, "/v1/aliases", &json!({"alias": self.alias, "class": self.article})).await;
    }

    async fn objects(&self, class: &str, tenant: Option<&str>, count: usize) {
        let object = |n: usize| {
            let mut object = json!({"class": class, "id": self.id(class, n), "properties": Self::properties(n)});
            if class == self.named {
                object["vectors"] = json!({"long": Self::vector(n, 8), "short": Self::vector(n, 4)});
            } else {
                object["vector"] = json!(Self::vector(n, 8));
            }
            if let Some(tenant) = tenant {
                object["tenant"] = json!(tenant);
            }
            object
        };
        let batch = json!({"objects": (0..count).map(object).collect::<Vec<_>>()});
        let answer: Value = serde_json::from_str(&self.call(Method::POST, "/v1/batch/objects", &batch).await).unwrap();
        for result in answer.as_array().unwrap() {
            assert_eq!(result["result"]["status"], "SUCCESS", "{result}");
        }
    }

    /// Names of the classes, sorted.
    pub(crate) fn names(&self) -> Vec<String> {
        [&self.article, &self.named, &self.tenanted, &self.vacant].map(Clone::clone).to_vec()
    }

    /// The class without tenants.
    pub(crate) fn article(&self) -> Place {
        Place { class: self.article.clone(), tenant: None }
    }

    /// The id of an object, whether it is there or not.
    pub(crate) fn id(&self, class: &str, n: usize) -> String {
        uuid_of(&format!("{class} {n}"))
    }

    /// A backup's id.
    pub(crate) fn backup(&self, name: &str) -> BackupId {
        BackupId::parse(&format!("calls-{}-{name}", self.run)).unwrap()
    }

    /// The properties of an object.
    pub(crate) fn properties(n: usize) -> Value {
        json!({"title": format!("The lifeboat number {n}"), "code": format!("CODE {n}"), "n": n,
            "half": f64::from(u16::try_from(n).unwrap()) / 2.0 + 0.25, "even": n.is_multiple_of(2)})
    }

    /// A vector of an object.
    pub(crate) fn vector(n: usize, dimensions: u16) -> Vec<f32> {
        let n = f32::from(u16::try_from(n).unwrap());
        (0..dimensions).map(|d| f32::from(d).mul_add(0.7, n * 1.3).sin()).collect()
    }

    /// Removes the classes.
    pub(crate) async fn remove_classes(&self) {
        for class in self.names() {
            self.call(Method::DELETE, &format!("/v1/schema/{class}"), &Value::Null).await;
        }
    }

    /// Removes everything but the backups, which no API of the server removes.
    pub(crate) async fn remove(self) {
        self.call(Method::DELETE, &format!("/v1/aliases/{}", self.alias), &Value::Null).await;
        self.remove_classes().await;
    }

    async fn call(&self, method: Method, path: &str, body: &Value) -> String {
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        let request = client.request(method.clone(), format!("{}{path}", self.base)).bearer_auth(&self.key);
        let request = if body.is_null() { request } else { request.json(body) };
        let reply = request.send().await.unwrap();
        let status = reply.status();
        let text = reply.text().await.unwrap();
        assert!(status.is_success(), "{method} {path}: {status} {text}");
        text
    }
}
