import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { parseAllDocuments } from 'yaml'
import { relay } from '../../src/cli/relay/relay.ts'
import { verbs } from '../../src/cli/verbs.ts'

interface Container {
  readonly command: readonly string[]
  readonly args?: readonly string[]
  readonly livenessProbe?: unknown
  readonly readinessProbe?: unknown
  readonly securityContext: Readonly<Record<string, unknown>>
}

interface Manifest {
  readonly kind: string
  readonly metadata: { readonly name: string }
  readonly spec: {
    readonly template?: {
      readonly spec: {
        readonly terminationGracePeriodSeconds?: number
        readonly containers: readonly [Container]
      }
    }
  }
}

const folder = join(import.meta.dirname, '../../ops/kubernetes')
const manifests = readdirSync(folder).flatMap((name) =>
  parseAllDocuments(readFileSync(join(folder, name), 'utf8')).map(
    (document) => document.toJS() as Manifest,
  ),
)
const pods = manifests.flatMap(({ metadata, spec }) =>
  spec.template === undefined ? [] : [{ name: metadata.name, ...spec.template.spec }],
)
const podOf = (name: string): (typeof pods)[number] => pods.find((pod) => pod.name === name)!

describe('the manifests of ops/kubernetes', () => {
  test('are an app, a relay and a migration job', () => {
    expect(manifests.map(({ kind, metadata }) => `${kind} ${metadata.name}`).toSorted()).toEqual([
      'Deployment shop',
      'Deployment shop-relay',
      'Job shop-migrate',
      'PodDisruptionBudget shop-relay',
    ])
  })

  test('start programs that wait at SIGTERM, as nobody and without rights', () => {
    for (const { name, containers } of pods) {
      const [{ command, securityContext }] = containers
      expect(command[0], name).toMatch(/^node(?:_modules\/\.bin\/mersal)?$/)
      expect(securityContext, name).toMatchObject({
        runAsNonRoot: true,
        readOnlyRootFilesystem: true,
      })
    }
  })

  test('call verbs and options that the program has', () => {
    const called = pods.flatMap(({ containers: [{ command }] }) => command.slice(1, 2))
    expect(called.filter((word) => word in verbs)).toEqual(['migrate', 'relay'])
    const { args = [] } = podOf('shop-relay').containers[0]
    const options = args.filter((word) => word.startsWith('--')).map((word) => word.slice(2))
    expect(options.filter((name) => !(name in relay.options))).toEqual([])
  })

  test('give each program longer than it takes to stop', () => {
    const relayed = podOf('shop-relay')
    const { args = [] } = relayed.containers[0]
    const graceMs = Number(args[args.indexOf('--grace-ms') + 1])
    expect(relayed.terminationGracePeriodSeconds! * 1000).toBeGreaterThan(graceMs)
    // preStop waits 5 s, stopGraceMs is 8 s.
    expect(podOf('shop').terminationGracePeriodSeconds).toBeGreaterThan(5 + 8)
  })

  test('have probes where something goes on running', () => {
    for (const name of ['shop', 'shop-relay'])
      expect(podOf(name).containers[0], name).toMatchObject({
        livenessProbe: {},
        readinessProbe: {},
      })
  })
})
