/** `npx mersal prove` in this folder kills the registrar and its office, and counts letters. */
import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import { Mersal } from '../../src/index.ts' // in your program: 'mersal'
import { sqlite, sqliteQueue } from '../../src/sqlite.ts' // 'mersal/sqlite'
import { defineProof } from '../../src/testing/index.ts' // 'mersal/testing'
import { createRegistrarServer, openRegistrar, StudentRegistered } from './main.ts'

export default defineProof({
  async open({ folder }) {
    const transport = sqliteQueue({ path: `${folder}/broker.db`, visibilityMs: 2000 })
    const office = new Mersal({
      name: 'office',
      store: sqlite({ path: `${folder}/app.db` }),
      transport,
    })
    office.handle(StudentRegistered, ({ name }, { tx }) => {
      tx.prepare('INSERT INTO letters VALUES (?)').run(name)
    })
    await office.transaction(async (tx) =>
      tx.exec('CREATE TABLE IF NOT EXISTS letters (name TEXT NOT NULL)'),
    )
    await office.start()
    const server = createRegistrarServer(await openRegistrar(folder)).listen(0, '127.0.0.1')
    await once(server, 'listening')
    return `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  },
  async act(url, n) {
    const response = await fetch(url, { method: 'POST', body: JSON.stringify({ name: `${n}` }) })
    if (response.status !== 201) throw new Error(`the registrar answered ${response.status}`)
  },
  rows: (place) => place.query('SELECT name FROM students', 'registrar.db'),
  effects: 'SELECT name FROM letters',
})
