import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { parse } from 'yaml'
import { checkTag, notesOf } from '../../scripts/release-notes.ts'
import { root } from './sources.ts'

interface Step {
  readonly uses?: string
  readonly run?: string
}
interface Job {
  readonly needs?: string
  readonly permissions?: Readonly<Record<string, string>>
  readonly steps: readonly Step[]
}
interface Workflow {
  readonly on: unknown
  readonly permissions: Readonly<Record<string, string>>
  readonly jobs: Readonly<Record<string, Job>>
}

const read = (name: string): string => readFileSync(join(root, name), 'utf8')
const manifest = JSON.parse(read('package.json')) as {
  readonly version: string
  readonly scripts: Readonly<Record<string, string>>
}
const { version } = manifest
const workflow = parse(read('.github/workflows/release.yml')) as Workflow
const runs = (job: Job | undefined): readonly string[] =>
  (job?.steps ?? []).flatMap(({ run }) => (run === undefined ? [] : [run]))

describe('the workflow of a release', () => {
  const { pack, publish } = workflow.jobs

  test('starts with a tag, and with nothing else', () => {
    expect(workflow.on).toEqual({ push: { tags: ['v*'] } })
    expect(Object.keys(workflow.jobs)).toEqual(['pack', 'publish'])
  })

  test('may read, and only the job that publishes may sign', () => {
    expect(workflow.permissions).toEqual({ contents: 'read' })
    expect(pack?.permissions).toBeUndefined()
    expect(publish?.permissions).toEqual({ contents: 'read', 'id-token': 'write' })
  })

  test('names each action by its commit', () => {
    const used = [pack, publish]
      .flatMap((job) => job?.steps ?? [])
      .flatMap(({ uses }) => uses ?? [])
    expect(used.length).toBeGreaterThan(3)
    for (const name of used) expect(name).toMatch(/^actions\/[a-z-]+@[0-9a-f]{40}$/)
  })

  test('packs only what is tested, and publishes what was packed, with provenance', () => {
    expect(publish?.needs).toBe('pack')
    const steps = runs(pack)
    const at = (start: string): number => steps.findIndex((step) => step.startsWith(start))
    for (const check of [
      'npm ci',
      'node scripts/release-notes.ts',
      'npm run test:fast',
      'npm run check',
    ])
      expect(at(check), check).toBeGreaterThanOrEqual(0)
    expect(at('npm pack')).toBeGreaterThan(Math.max(at('npm run test:fast'), at('npm run check')))
    expect(at('npm pkg set repository')).toBe(at('npm pack') - 1)
    expect(steps).toContain('npm pack --ignore-scripts')
    const last = runs(publish).at(-1)
    expect(last).toBe('npm publish --provenance --access public ./mersal-*.tgz')
    expect(runs(publish).join('\n')).not.toMatch(/npm (?:ci|run)|checkout/)
  })

  test('whoever packs by hand packs a build', () => {
    expect(manifest.scripts['prepack']).toBe('npm run build')
  })

  test('knows no secret, and runs only scripts that exist', () => {
    expect(read('.github/workflows/release.yml')).not.toMatch(/secrets\.|NODE_AUTH_TOKEN/)
    const scripts = [pack, publish]
      .flatMap(runs)
      .flatMap((step) => /^npm run (?<name>\S+)$/.exec(step)?.groups?.['name'] ?? [])
    expect(scripts.filter((name) => manifest.scripts[name] === undefined)).toEqual([])
  })
})

describe('the version', () => {
  test('is the same wherever it stands', () => {
    const lock = JSON.parse(read('package-lock.json')) as {
      version: string
      packages: Record<string, { version: string }>
    }
    expect([lock.version, lock.packages['']?.version]).toEqual([version, version])
    expect(read('README.md')).toContain(`mersal-${version}.tgz`)
    const short = /^\d+\.\d+/.exec(version)?.[0]
    for (const page of ['README.md', 'docs/send-and-handle.md'])
      expect(read(page), page).toContain(`Version ${short}: names may still change`)
  })

  test('is the first one in the changelog, before older ones', () => {
    const headings = [...read('CHANGELOG.md').matchAll(/^## (?<number>\S+) \((?<day>.*)\)$/gm)]
    expect(headings.map(({ groups }) => groups?.['number'])).toEqual([version, '0.1.0'])
    expect(headings[0]?.groups?.['day']).toMatch(/^(?:unreleased|\d{4}-\d{2}-\d{2})$/)
  })

  test('has notes for those who upgrade', () => {
    expect(read('docs/upgrading.md')).toContain(`to ${/^\d+\.\d+/.exec(version)?.[0]}`)
  })

  test('comes with no address that nobody has checked', () => {
    for (const field of ['repository', 'homepage', 'bugs'])
      expect(manifest).not.toHaveProperty(field)
  })
})

describe('the notes of a release', () => {
  const log = '# Changelog\n\n## 0.2.0 (2026-12-01)\n\n- new\n\n## 0.1.0 (2026-11-23)\n\n- old\n'

  test('are the part of their version', () => {
    expect(notesOf(log, '0.2.0')).toBe('- new')
    expect(notesOf(log, '0.1.0')).toBe('- old')
  })

  test('are refused without a part, a day or a text', () => {
    expect(() => notesOf(log, '0.3.0')).toThrow('has no part')
    expect(() => notesOf('## 0.2.0 (unreleased)\n\n- new\n', '0.2.0')).toThrow('has no day')
    expect(() => notesOf('## 0.2.0 (2026-12-01)\n\n## 0.1.0 (2026-11-23)\n', '0.2.0')).toThrow(
      'says nothing',
    )
  })

  test('are refused if the tag is of another version', () => {
    expect(() => checkTag('v0.2.1', '0.2.0')).toThrow(`expected 'v0.2.0'`)
    expect(() => checkTag('v0.2.0', '0.2.0')).not.toThrow()
  })
})
