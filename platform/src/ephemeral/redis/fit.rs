//! Whether a server does for us; asked once, at the start.

use redis::cmd;

use super::line::Line;

/// The oldest version that is accepted: the oldest line that its makers still mended when this was written. What the
/// scripts need (a replication id, changes after a look at it) is older.
const OLDEST: (u32, u32) = (6, 2);

/// Why a Redis cannot be used. Says what was found and what to do, in Chinese and English.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CannotUse {
    /// The text is no address.
    #[error(
        "不是有效的Redis地址（{0}）；应为 redis://[用户:口令@]主机:端口[/库号] / is no Redis address ({0}); write \
         redis://[user:password@]host:port[/db]"
    )]
    Address(String),
    /// Nobody answers there.
    #[error(
        "连接不上（{0}）；请检查地址与口令，以及服务是否已启动 / cannot be reached ({0}); check the address and the \
         password, and that the server runs"
    )]
    Away(String),
    /// Its version.
    #[error(
        "版本为{0}，须为{major}.{minor}或更新；请升级 / is version {0}, and {major}.{minor} or newer is needed; upgrade it",
        major = OLDEST.0,
        minor = OLDEST.1
    )]
    TooOld(String),
    /// It takes no changes.
    #[error("是只读副本；请填写主节点的地址 / is a read-only replica; name the primary")]
    Replica,
    /// Its policy: a try counter may be thrown away while everything else stays, which no epoch shows.
    #[error(
        "内存满时会丢弃键（maxmemory-policy为{0}），验证码的尝试次数会随之丢失；请设为noeviction / throws keys away \
         when its memory is full (maxmemory-policy is {0}), try counters among them; set noeviction"
    )]
    Evicts(String),
    /// How many primaries it has.
    #[error(
        "是有{0}个主节点的集群，本版本只连接一个主节点；请改用单主节点的Redis或集群代理 / is a Cluster of {0} primaries, \
         and this version speaks to one; use one primary, or a proxy before the Cluster"
    )]
    Cluster(u32),
    /// Its words about something that is needed.
    #[error("不允许所需的命令（{0}）；请为该账号放行 / refuses what is needed ({0}); allow it to this account")]
    Refuses(String),
}

pub(super) async fn check(line: &Line) -> Result<(), CannotUse> {
    let mut connection = line.connection();
    let away = |error: super::Unreachable| CannotUse::Away(error.0);
    let info: String = line.bounded(async { cmd("INFO").query_async(&mut connection).await }).await.map_err(away)?;
    fits(&info)?;
    if said(&info, "redis_mode") == Some("cluster") {
        let asking = async { cmd("CLUSTER").arg("INFO").query_async(&mut connection).await };
        let cluster: String = line.bounded(asking).await.map_err(|error| CannotUse::Refuses(error.0))?;
        let primaries = said(&cluster, "cluster_size").and_then(|size| size.parse().ok()).unwrap_or(0);
        if primaries != 1 {
            return Err(CannotUse::Cluster(primaries));
        }
    }
    Ok(())
}

fn said<'a>(info: &'a str, name: &str) -> Option<&'a str> {
    info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).map(str::trim)
}

fn fits(info: &str) -> Result<(), CannotUse> {
    let version = said(info, "redis_version").unwrap_or("?");
    let mut numbers = version.split('.').map(|number| number.parse::<u32>().ok());
    match (numbers.next().flatten(), numbers.next().flatten()) {
        (Some(major), Some(minor)) if (major, minor) >= OLDEST => {}
        _ => return Err(CannotUse::TooOld(version.to_owned())),
    }
    if said(info, "role") != Some("master") {
        return Err(CannotUse::Replica);
    }
    match (said(info, "maxmemory"), said(info, "maxmemory_policy")) {
        (Some("0"), _) | (_, Some("noeviction")) => Ok(()),
        (_, policy) => Err(CannotUse::Evicts(policy.unwrap_or("?").to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_refused_for_what_would_lose_counters_or_changes() {
        let info = |version: &str, role: &str, most: &str, policy: &str| {
            format!(
                "# Server\r\nredis_version:{version}\r\nredis_mode:standalone\r\n# Memory\r\nmaxmemory:{most}\r\n\
                 maxmemory_policy:{policy}\r\n# Replication\r\nrole:{role}\r\n"
            )
        };
        for (said, answer) in [
            (info("7.0.15", "master", "0", "noeviction"), Ok(())),
            (info("6.2.0", "master", "0", "allkeys-lru"), Ok(())),
            (info("10.1", "master", "1073741824", "noeviction"), Ok(())),
            (info("6.0.16", "master", "0", "noeviction"), Err(CannotUse::TooOld("6.0.16".into()))),
            (info("5", "master", "0", "noeviction"), Err(CannotUse::TooOld("5".into()))),
            (info("7.0.15", "slave", "0", "noeviction"), Err(CannotUse::Replica)),
            (info("7.0.15", "master", "1", "volatile-lru"), Err(CannotUse::Evicts("volatile-lru".into()))),
            ("# Nothing".into(), Err(CannotUse::TooOld("?".into()))),
        ] {
            assert_eq!(fits(&said), answer, "{said}");
        }
    }

    #[test]
    fn every_refusal_says_what_to_do_in_both_languages() {
        for refusal in [
            CannotUse::Address("x".into()),
            CannotUse::Away("x".into()),
            CannotUse::TooOld("5.0".into()),
            CannotUse::Replica,
            CannotUse::Evicts("allkeys-lru".into()),
            CannotUse::Cluster(3),
            CannotUse::Refuses("x".into()),
        ] {
            let text = refusal.to_string();
            let (zh, en) = text.split_once(" / ").expect("two languages");
            assert!(zh.contains(['请', '应']) && en.contains(';'), "{text}");
        }
    }
}
