import { sqlite, sqliteQueue } from '../../../../src/sqlite.ts'

/** What opens a database. */
export type Part = 'store' | 'queue' | 'migrate'

export interface Attempt {
  readonly part: Part
  readonly path: string
}

const attempts: Readonly<Record<Part, (path: string) => Promise<unknown>>> = {
  store: (path) => sqlite({ path }).open(),
  queue: (path) => sqliteQueue({ path }).subscribe('q', []),
  async migrate(path) {
    const schema = sqlite({ path }).operations?.schema
    if (schema === undefined) throw new Error('the store has no schema')
    await schema.version()
    await schema.upgrade()
  },
}

/** A program that a test starts as another user. It answers each attempt with its error. */
process.on('message', ({ part, path }: Attempt) => {
  attempts[part](path).then(
    () => process.send?.('it worked'),
    (error: { code?: string; message?: string }) =>
      process.send?.(`${error.code} ${error.message}`),
  )
})
process.on('disconnect', () => process.exit(0))
process.send?.('ready')
