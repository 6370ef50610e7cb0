//! What a test or the demo may do to a running stack, and see of it.

use std::future::Future;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};
use serde_json::{Map, Value, json};

use crate::control::ApiError;
use crate::stack::Stack;
use crate::views::{AccessLine, HostCall, Instance, Invocation, KilledInstance, ModelReport};

impl Stack {
    /// Call any AWS API by its botocore names, as `tester`. The inner error is the service's refusal.
    ///
    /// # Errors
    /// When the stack does not answer.
    pub async fn call(&self, service: &str, api: &str, params: Value) -> Result<std::result::Result<Value, ApiError>> {
        self.ask(&json!({"op": "call", "service": service, "api": api, "params": params})).await
    }

    /// The same as somebody else; in a stack with `enforce_iam`, as this access key, secret and token.
    ///
    /// # Errors
    /// When the stack does not answer.
    pub async fn call_as(
        &self,
        who: [&str; 3],
        service: &str,
        api: &str,
        params: Value,
    ) -> Result<std::result::Result<Value, ApiError>> {
        self.ask(&json!({"op": "call", "as": who, "service": service, "api": api, "params": params})).await
    }

    /// Invoke a function and wait for its answer.
    ///
    /// # Errors
    /// When there is no such function, or the stack does not answer. A failure of the function is in the answer.
    pub async fn invoke(&self, function: &str, payload: &Value) -> Result<Invocation> {
        self.get(&json!({"op": "invoke", "function": function, "payload": payload})).await
    }

    /// Every instance that EC2 still lists, terminated ones for a minute.
    ///
    /// # Errors
    /// When the stack does not answer.
    pub async fn instances(&self) -> Result<Vec<Instance>> {
        self.get(&json!({"op": "instances"})).await
    }

    /// One instance.
    ///
    /// # Errors
    /// When EC2 does not list it.
    pub async fn instance(&self, id: &str) -> Result<Instance> {
        let found = self.instances().await?.into_iter().find(|i| i.instance == id);
        found.ok_or_else(|| anyhow!("EC2 does not list {id}"))
    }

    /// The machine dies: its processes get a SIGKILL, its disks are wiped, EC2 lists it as terminated. Auto Scaling finds out
    /// by itself.
    ///
    /// # Errors
    /// When the stack does not answer.
    pub async fn kill_instance(&self, id: &str) -> Result<KilledInstance> {
        self.get(&json!({"op": "kill", "instance": id})).await
    }

    /// The machine hangs: its processes stand still, commands are not delivered, interfaces are not let go of. Nobody is
    /// told, so SSM goes on to call its agent online. Answers the pids.
    ///
    /// # Errors
    /// When the stack does not answer.
    pub async fn hang_instance(&self, id: &str) -> Result<Vec<u32>> {
        self.get(&json!({"op": "hang", "instance": id})).await
    }

    /// So many seconds of every lifecycle hook's timers pass at once.
    ///
    /// # Errors
    /// When the stack does not answer.
    pub async fn pass_hook_time(&self, seconds: u64) -> Result<()> {
        self.ask(&json!({"op": "pass_hook_time", "seconds": seconds})).await??;
        Ok(())
    }

    /// Every answer of the bridge's own APIs so far, held to botocore's models: how many of each operation, and what did
    /// not fit.
    ///
    /// # Errors
    /// When the stack does not answer.
    pub async fn model(&self) -> Result<ModelReport> {
        self.get(&json!({"op": "model"})).await
    }

    /// Only the node's process dies; machine and disks stay. Answers the pids.
    ///
    /// # Errors
    /// When the stack does not answer.
    pub async fn kill_node(&self, id: &str) -> Result<Vec<u32>> {
        self.get(&json!({"op": "kill_node", "instance": id})).await
    }

    /// Change knobs of the bridge (`bridge/context.py` lists them).
    ///
    /// # Errors
    /// When a knob is unknown.
    pub async fn set_knobs(&self, knobs: Value) -> Result<Map<String, Value>> {
        self.get(&json!({"op": "knobs", "set": knobs})).await
    }

    /// Turn all schedules (the functions' ticks) on or off.
    ///
    /// # Errors
    /// When the stack does not answer.
    pub async fn schedules(&self, on: bool) -> Result<()> {
        self.set_knobs(json!({"schedules": on})).await.map(drop)
    }

    /// Deliver S3's events, or drop them.
    ///
    /// # Errors
    /// When the stack does not answer.
    pub async fn s3_events(&self, on: bool) -> Result<()> {
        self.set_knobs(json!({"s3_events": on})).await.map(drop)
    }

    /// Deliver every other service's events (Auto Scaling, EC2, SSM), or drop them.
    ///
    /// # Errors
    /// When the stack does not answer.
    pub async fn other_events(&self, on: bool) -> Result<()> {
        self.set_knobs(json!({"other_events": on})).await.map(drop)
    }

    /// Fire, now, every enabled scheduled rule whose name contains the text. Answers the rules' names.
    ///
    /// # Errors
    /// When the stack does not answer.
    pub async fn tick(&self, name_contains: &str) -> Result<Vec<String>> {
        self.get(&json!({"op": "tick", "name": name_contains})).await
    }

    /// Flip one bit of a stored object behind S3's back: size, `ETag` and version stay. A negative offset counts from the end.
    ///
    /// # Errors
    /// When there is no such object.
    pub async fn tamper(&self, bucket: &str, key: &str, offset: i64) -> Result<()> {
        self.ask(&json!({"op": "tamper", "bucket": bucket, "key": key, "offset": offset})).await??;
        Ok(())
    }

    /// Events delivered and dropped, connections accepted, and the knobs.
    ///
    /// # Errors
    /// When the stack does not answer.
    pub async fn counts(&self) -> Result<Value> {
        self.get(&json!({"op": "counts"})).await
    }

    /// Make stand-ins of one instance fail or hang: `{"docker": {"match": "pull", "fail": 1, "hang": 5, "times": 2}}`.
    ///
    /// # Errors
    /// When the stack does not answer.
    pub async fn host_knobs(&self, instance: &str, knobs: Value) -> Result<()> {
        self.ask(&json!({"op": "machine_knobs", "instance": instance, "set": knobs})).await??;
        Ok(())
    }

    /// What the stand-ins of one instance were asked to do, in order.
    ///
    /// # Errors
    /// When the stack does not answer.
    pub async fn host_calls(&self, instance: &str) -> Result<Vec<HostCall>> {
        self.get(&json!({"op": "calls", "instance": instance})).await
    }

    /// Every S3 request so far, in the order in which they ended.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub fn s3_access_log(&self) -> Result<Vec<AccessLine>> {
        let path = self.dir().join("s3-access.ndjson");
        let text = match std::fs::read_to_string(&path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
            read => read.with_context(|| format!("cannot read {}", path.display()))?,
        };
        text.lines().map(|line| serde_json::from_str(line).with_context(|| format!("access log line {line}"))).collect()
    }

    /// Everything a function has printed so far.
    #[must_use]
    pub fn function_log(&self, function: &str) -> String {
        let bytes = std::fs::read(self.dir().join("logs").join(format!("{function}.log"))).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// Look until `probe` answers something, at most `within`.
    ///
    /// # Errors
    /// The probe's own, or that `what` did not happen in time, with the emulator's last log lines.
    pub async fn wait_for<T, F, P>(&self, what: &str, within: Duration, mut probe: P) -> Result<T>
    where
        P: FnMut() -> F,
        F: Future<Output = Result<Option<T>>>,
    {
        let begun = Instant::now();
        loop {
            if let Some(found) = probe().await? {
                return Ok(found);
            }
            if begun.elapsed() > within {
                bail!("{what} did not happen within {within:?}; the emulator's log ends:\n{}", self.log_tail());
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}
