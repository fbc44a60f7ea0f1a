import {
  type Client,
  type StoreAdapter,
  storeAdapters,
  type TransportAdapter,
  transportAdapters,
} from '../adapters.ts'
import type { Address, Found } from './init-surroundings.ts'

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

/** Of this configuration, as `init` of its adapter names them. */
interface Parts {
  readonly adapters: readonly [StoreAdapter, TransportAdapter]
  readonly clients: ReadonlySet<Client>
  readonly broker: Address | undefined
}

function partsOf({ store, transport, addresses }: Found): Parts {
  const adapters = [storeAdapters[store], transportAdapters[transport]] as const
  return {
    adapters,
    clients: new Set<Client>(adapters.flatMap(({ client }) => client ?? [])),
    broker: addresses.find(({ broker }) => broker),
  }
}

function callOf({ init: [, name, options] }: StoreAdapter | TransportAdapter): string {
  return `${name}(${options})`
}

function importLines({ betterSqlite }: Found, { adapters, clients }: Parts): readonly string[] {
  const modules = Map.groupBy(adapters, ({ init: [module] }) => module)
  const ours = [...modules]
    .map(
      ([module, found]) =>
        `import { ${found.map(({ init: [, name] }) => name).join(', ')} } from '${module}'`,
    )
    .toSorted((left, right) =>
      (left.split(' from ')[1] ?? '').localeCompare(right.split(' from ')[1] ?? ''),
    )
  return [
    ...(betterSqlite ? [`import Database from 'better-sqlite3'`] : []),
    `import { defineConfig } from 'mersal/cli'`,
    ...ours,
    ...[...clients].map(({ imports }) => imports),
  ]
}

/** Without the broker, verbs that look at the database alone still work. */
function brokerLines(broker: Address | undefined): string {
  if (broker === undefined) return ''
  return `// Apps and 'mersal relay' need the broker. 'migrate', 'status' and 'dead list' work without its address.
const broker = process.env.${broker.variable}

`
}

function closeText(clients: ReadonlySet<Client>): string {
  const closes = [...clients].map(({ close }) => close)
  if (closes.length > 1) return `() => Promise.all([${closes.join(', ')}])`
  return closes[0] === undefined ? '() => {}' : `() => ${closes[0]}`
}

/** The configuration: what the app and the program \`mersal\` share. */
export function configText(found: Found): string {
  const parts = partsOf(found)
  const { adapters, clients, broker } = parts
  const [store, transport] = adapters
  const needed = found.addresses.filter((one) => !one.broker).map(({ variable }) => variable)
  const setup = [...clients].map((client) => `${client.setup}\n\n`).join('')
  const storeCall = found.betterSqlite
    ? `sqlite({ open: () => new Database('app.db') })`
    : callOf(store)
  const transportLine =
    broker === undefined
      ? `transport: ${callOf(transport)},`
      : `...(broker ? { transport: ${callOf(transport)} } : {}),`
  return `${importLines(found, parts).join('\n')}

// Database and broker, for the app and for the program 'mersal'. Addresses come from the environment: they hold passwords.
${required(needed, found.typescript).trimStart()}${needed.length === 0 ? '' : '\n'}${setup}${brokerLines(broker)}export default defineConfig({
  store: ${storeCall},
  ${transportLine}
  close: ${closeText(clients)},
})
`
}

const quoted = (text: string): string => `'${text}'`

/** Where the configuration may have no broker. */
function transportCheck(found: Found): string {
  const { broker } = partsOf(found)
  if (broker === undefined) return 'const { store, transport } = config\n'
  return `const { store, transport } = config
if (!transport) throw new Error('the environment variable ${broker.variable} is not set; from a file: node --env-file=.env …')
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
