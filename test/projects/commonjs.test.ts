import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { lend, project, type Project, root } from './package.ts'

interface Manifest {
  readonly main: string
  readonly types: string
  readonly exports: Readonly<
    Record<string, string | { readonly types: string; readonly default: string }>
  >
  readonly typesVersions: Readonly<Record<string, Readonly<Record<string, readonly string[]>>>>
}

const manifest = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as Manifest
const typed = Object.entries(manifest.exports).flatMap(([path, target]) =>
  typeof target === 'string' ? [] : [{ path, ...target }],
)

const program = `
const { Mersal, event } = require('mersal')
const { memoryStore, memoryTransport } = require('mersal/memory')
const { drain } = require('mersal/testing')
async function main() {
  const Paid = event('orders.paid')
  const app = new Mersal({ name: 'orders', store: memoryStore(), transport: memoryTransport() })
  app.handle(Paid, ({ total }) => console.log('handled ' + total))
  await app.start()
  await app.subscribe(Paid)
  await app.transaction((_, { publish }) => publish(Paid, { total: 42 }))
  await drain(app)
  await app.stop()
}
void main()
`

describe('a CommonJS program', () => {
  let place: Project
  beforeAll(() => {
    place = project()
    // The clients that sub-paths load at once.
    for (const client of [
      'amqplib',
      '@nats-io/transport-node',
      '@nats-io/jetstream',
      '@platformatic/kafka',
      '@redis/client',
      '@nestjs/common',
      '@nestjs/core',
      '@opentelemetry/api',
    ])
      lend(place, client)
  })
  afterAll(() => place[Symbol.dispose]())

  test('requires the package and runs an app', () => {
    place.write('main.cjs', program)
    expect(place.node(['main.cjs'])).toEqual({ code: 0, text: 'handled 42\n' })
  })

  test.each(typed.map(({ path }) => `mersal${path.slice(1)}`))(
    'requires %s, and gets what import gives',
    (name) => {
      place.write(
        'names.cjs',
        `
      const required = require('${name}')
      if (Object.keys(required).length === 0) throw new Error('no names')
      import('${name}').then((imported) => {
        for (const key of Object.keys(imported)) if (imported[key] !== required[key]) throw new Error(key)
        console.log('same')
      })`,
      )
      expect(place.node(['names.cjs'])).toEqual({ code: 0, text: 'same\n' })
    },
  )
})

describe('a resolver that knows no exports', () => {
  test('finds the package itself by main and types', () => {
    const { default: main, types } = typed.find(({ path }) => path === '.')!
    expect([manifest.main, manifest.types]).toEqual([main, types])
  })

  test('finds the types of every sub-path by typesVersions', () => {
    const wanted = typed
      .filter(({ path }) => path !== '.')
      .map(({ path, types }) => [path.slice(2), [types]])
    expect(manifest.typesVersions).toEqual({ '*': Object.fromEntries(wanted) })
  })
})
