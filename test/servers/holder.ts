import { openPrivateBroker } from '../../scripts/servers/rabbitmq.ts'
import { privateCluster } from '../../scripts/servers/postgres.ts'
import { embeddedCluster } from '../postgres/embedded.ts'
import { pgbouncer } from '../postgres/pgbouncer.ts'

/** Starts one kind of server, says where, and waits to be killed. */
const kinds: Readonly<Record<string, () => Promise<{ readonly url: string }>>> = {
  postgres: () => privateCluster(),
  embedded: () => embeddedCluster(),
  rabbitmq: () => openPrivateBroker(),
  pgbouncer: () => pgbouncer('postgres://postgres@127.0.0.1:5432/postgres'),
}
const server = await kinds[process.argv[2] ?? '']?.()
process.stdout.write(`${server?.url}\n`)
setInterval(() => {}, 1000)
