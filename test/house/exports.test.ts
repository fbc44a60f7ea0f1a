import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { root } from './sources.ts'

interface Manifest {
  readonly exports: Readonly<Record<string, string | Readonly<Record<string, string>>>>
  readonly files: readonly string[]
  readonly scripts: Readonly<Record<string, string>>
  readonly dependencies?: Readonly<Record<string, string>>
  readonly optionalDependencies?: Readonly<Record<string, string>>
  readonly devDependencies: Readonly<Record<string, string>>
  readonly peerDependencies: Readonly<Record<string, string>>
  readonly peerDependenciesMeta: Readonly<Record<string, { readonly optional?: boolean }>>
}

const manifest = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as Manifest

describe('package.json', () => {
  test('has no dependency that users must install', () => {
    expect(manifest.dependencies ?? {}).toEqual({})
    expect(manifest.optionalDependencies ?? {}).toEqual({})
    const required = Object.keys(manifest.peerDependencies).filter(
      (name) => manifest.peerDependenciesMeta[name]?.optional !== true,
    )
    expect(required).toEqual([])
  })

  test('runs nothing when it is installed', () => {
    const atInstall = [
      'preinstall',
      'install',
      'postinstall',
      'prepare',
      'prepublish',
      'preprepare',
      'postprepare',
    ]
    expect(atInstall.filter((name) => name in manifest.scripts)).toEqual([])
  })

  test.each(Object.entries(manifest.exports))(
    'gives %s types, and a source behind it',
    (path, target) => {
      if (typeof target === 'string') {
        expect(path).toBe('./package.json')
        return
      }
      expect(Object.keys(target)).toEqual(['types', 'default'])
      expect(target['types']).toBe(target['default']!.replace(/\.js$/, '.d.ts'))
      expect(
        existsSync(
          join(root, target['default']!.replace('./dist/', 'src/').replace(/\.js$/, '.ts')),
        ),
      ).toBe(true)
    },
  )

  test('pins development packages to one version each', () => {
    expect(
      Object.entries(manifest.devDependencies).filter(
        ([, version]) => !/^(?:npm:[\w@/-]+@)?\d+\.\d+\.\d+(?:-[\w.]+)?$/.test(version),
      ),
    ).toEqual([])
  })
})

describe('package-lock.json', () => {
  interface Entry {
    readonly resolved?: string
    readonly integrity?: string
    readonly optional?: boolean
    readonly os?: readonly string[]
    readonly optionalDependencies?: Readonly<Record<string, string>>
  }
  const lock = JSON.parse(readFileSync(join(root, 'package-lock.json'), 'utf8')) as {
    packages: Record<string, Entry>
  }
  const packages = Object.entries(lock.packages).filter(([path]) => path !== '')

  test('names no address of a registry, so that any mirror serves', () => {
    expect(
      packages.filter(([, { resolved }]) => resolved !== undefined).map(([path]) => path),
    ).toEqual([])
  })

  test('has the hash of every package but the binaries of other platforms', () => {
    const unknown = packages.filter(
      ([, { integrity, optional, os }]) =>
        integrity === undefined && !(optional === true && os !== undefined),
    )
    expect(unknown.map(([path]) => path)).toEqual([])
  })

  test('has an entry for every platform, else npm ci refuses it (scripts/complete-lockfile.ts adds them)', () => {
    const wanted = packages.flatMap(([path, { optionalDependencies = {} }]) =>
      Object.keys(optionalDependencies).map((name) => [
        `${path}/node_modules/${name}`,
        `node_modules/${name}`,
      ]),
    )
    expect(wanted.length).toBeGreaterThan(50)
    expect(
      wanted
        .filter((paths) => !paths.some((path) => path in lock.packages))
        .map(([, path]) => path),
    ).toEqual([])
  })
})
