import type { Found } from './init-surroundings.ts'

/** A variable that must be set; the error says so before anything tries to connect. */
function required(names: readonly string[], typescript: boolean): string {
  if (names.length === 0) return ''
  return `
function required(name${typescript ? ': string' : ''})${typescript ? ': string' : ''} {
  const value = process.env[name]
  if (!value) throw new Error(\`the environment variable \${name} is not set; from a file: node --env-file=.env …, npx mersal VERB --env .env\`)
  return value
}
`
}

const storeLines: Readonly<Record<'sqlite' | 'better-sqlite3' | 'postgres', string>> = {
  sqlite: `sqlite({ path: 'app.db' })`,
  'better-sqlite3': `sqlite({ open: () => new Database('app.db') })`,
  postgres: 'postgres({ pool })',
}

function transportLine({ transport }: Found): string {
  if (transport === 'sqlite') return `transport: sqliteQueue({ path: 'queue.db' }),`
  if (transport === 'postgres') return 'transport: postgresQueue({ pool }),'
  return '...(broker ? { transport: rabbitmq({ url: broker }) } : {}),'
}

/** Without it, verbs that look at the database alone still work. */
function brokerLines({ transport, brokerVariable }: Found): string {
  if (transport !== 'rabbitmq') return ''
  return `// Apps and 'mersal relay' need the broker. 'migrate', 'status' and 'dead list' work without its address.
const broker = process.env.${brokerVariable}

`
}

function importLines({ store, transport, betterSqlite }: Found): readonly string[] {
  const sqlite = [
    ...(store === 'sqlite' ? ['sqlite'] : []),
    ...(transport === 'sqlite' ? ['sqliteQueue'] : []),
  ]
  const postgres = [
    ...(store === 'postgres' ? ['postgres'] : []),
    ...(transport === 'postgres' ? ['postgresQueue'] : []),
  ]
  return [
    ...(betterSqlite ? [`import Database from 'better-sqlite3'`] : []),
    `import { defineConfig } from 'mersal/cli'`,
    ...(postgres.length === 0 ? [] : [`import { ${postgres.join(', ')} } from 'mersal/postgres'`]),
    ...(transport === 'rabbitmq' ? [`import { rabbitmq } from 'mersal/rabbitmq'`] : []),
    ...(sqlite.length === 0 ? [] : [`import { ${sqlite.join(', ')} } from 'mersal/sqlite'`]),
    ...(postgres.length === 0 ? [] : [`import pg from 'pg'`]),
  ]
}

/** The configuration: what the app and the program \`mersal\` share. */
export function configText(found: Found): string {
  const { store, transport, typescript, betterSqlite } = found
  const usesPool = store === 'postgres' || transport === 'postgres'
  const variables = usesPool ? ['DATABASE_URL'] : []
  return `${importLines(found).join('\n')}

// Database and broker, for the app and for the program 'mersal'. Addresses come from the environment: they hold passwords.
${required(variables, typescript).trimStart()}${variables.length === 0 ? '' : '\n'}${usesPool ? `const pool = new pg.Pool({ connectionString: required('DATABASE_URL') })\n\n` : ''}${brokerLines(found)}export default defineConfig({
  store: ${storeLines[betterSqlite ? 'better-sqlite3' : store]},
  ${transportLine(found)}
  close: ${usesPool ? '() => pool.end()' : '() => {}'},
})
`
}

const quoted = (text: string): string => `'${text}'`

/** Where the configuration may have no broker. */
function transportCheck({ transport, brokerVariable }: Found): string {
  if (transport !== 'rabbitmq') return 'const { store, transport } = config\n'
  return `const { store, transport } = config
if (!transport) throw new Error('the environment variable ${brokerVariable} is not set; from a file: node --env-file=.env …')
`
}

/**
 * A first app: a command, an event, one transaction. It leaves no queue behind: that would go on
 * taking the events of later apps.
 */
export function appText(found: Found): string {
  const { typescript, ending } = found
  const body = typescript ? '<{ item: string }>' : ''
  const nothing = typescript ? '<void>' : ''
  return `import { command, event, Mersal } from 'mersal'
import config from ${quoted(`./mersal.config.${ending}`)}

const PlaceOrder = command${body}('orders.place')
const OrderPlaced = event${body}('orders.placed')

${transportCheck(found)}const app = new Mersal({ name: 'first-app', store, transport })
const seen = Promise.withResolvers${nothing}()

app.handle(PlaceOrder, async ({ item }, { publish }) => {
  // Take 'tx' beside 'publish' to write rows of your own: they and the event are committed together, or not at all.
  await publish(OrderPlaced, { item })
})

app.handle(OrderPlaced, ({ item }) => {
  console.log(\`an order for \${item} was placed\`)
  seen.resolve()
})

await app.start()
await app.transaction(async (_tx, { sendLocal }) => {
  await sendLocal(PlaceOrder, { item: 'tea' })
})

// A real app has a name of its own and goes on until SIGINT or SIGTERM: in place of the next two lines,
// await runUntilSignal(app), imported from 'mersal'. It keeps its queue, which takes its messages while it is down.
await seen.promise
await app.stop({ removeQueue: true }) // this one leaves nothing behind at the broker
await config.close()
`
}
