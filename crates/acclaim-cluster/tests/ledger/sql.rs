//! The servers that every test of the ledger runs on, and everything in which they differ.

use acclaim_servers::{Database, MariaDb, Proxy, TiDb};
use sqlx::{Connection, MySqlConnection};

/// One of the servers that the ledger works with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sql {
    MariaDb,
    TiDb,
}

/// Makes of each function, which takes a [`Sql`], one test a server.
macro_rules! on_each_server {
    ($($test:ident),+ $(,)?) => {
        mod mariadb {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $test() {
                super::$test($crate::sql::Sql::MariaDb).await;
            })+
        }
        mod tidb {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $test() {
                super::$test($crate::sql::Sql::TiDb).await;
            })+
        }
    };
}
pub(crate) use on_each_server;

impl Sql {
    async fn fresh(self) -> Database {
        match self {
            Self::MariaDb => MariaDb::shared().await.database().await,
            Self::TiDb => TiDb::shared().await.database().await,
        }
    }

    /// The URL of a fresh database.
    pub async fn database(self) -> String {
        self.fresh().await.url().to_owned()
    }

    /// A proxy before the server, and a database's URL by it.
    pub async fn proxy(self, url: &str) -> (Proxy, String) {
        let server = match self {
            Self::MariaDb => MariaDb::shared().await.address(),
            Self::TiDb => TiDb::shared().await.address(),
        };
        let proxy = Proxy::start(server).await;
        let ours = format!(":{}/", server.port());
        let by = url.replace(&ours, &format!(":{}/", proxy.address().port()));
        assert_ne!(by, url);
        (proxy, by)
    }
}

/// A connection of the test's own.
pub async fn connect(url: &str) -> MySqlConnection {
    MySqlConnection::connect(url).await.unwrap()
}

/// The numbers from 1 to `last`, at most 100,000, as the column `seq` of a table.
pub fn numbers(last: usize) -> String {
    assert!(last <= 100_000);
    let digits = "(SELECT 0 AS d UNION ALL SELECT 1 UNION ALL SELECT 2 UNION ALL SELECT 3 \
                  UNION ALL SELECT 4 UNION ALL SELECT 5 UNION ALL SELECT 6 UNION ALL SELECT 7 \
                  UNION ALL SELECT 8 UNION ALL SELECT 9)";
    format!(
        "(SELECT * FROM (SELECT 1 + a.d + 10 * b.d + 100 * c.d + 1000 * e.d + 10000 * f.d AS seq \
         FROM {digits} a CROSS JOIN {digits} b CROSS JOIN {digits} c CROSS JOIN {digits} e \
         CROSS JOIN {digits} f) AS every WHERE seq <= {last}) AS numbers"
    )
}
