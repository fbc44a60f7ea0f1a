import {
  chmodSync,
  chownSync,
  lchownSync,
  mkdirSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { openProject, type Project, sqliteConfig } from './project.ts'

/** Proves that it ran. */
const marking = `import { writeFileSync } from 'node:fs'\nwriteFileSync('it-ran', '')\n${sqliteConfig()}`
const NOBODY = 65_534
const isRoot = process.getuid?.() === 0
const elsewhere = (): Project => openProject(undefined, tmpdir())
/** A store that every verb finds without a configuration. */
const env = { DATABASE_URL: 'sqlite:env.db' }

function put(project: Project, name: string, text = marking): string {
  const file = project.file(name)
  writeFileSync(file, text)
  return file
}

async function refused(project: Project, reason: RegExp): Promise<void> {
  const ended = await project.mersal(['migrate'], env)
  expect(ended).toMatchObject({ code: 1, stdout: '' })
  expect(ended.stderr).toMatch(reason)
  expect(() => statSync(project.file('it-ran'))).toThrow('ENOENT')
}

describe('a configuration that was only found is not run', { timeout: 240_000 }, () => {
  test('when it lies in a folder into which everybody may write, and it says how it would be run', async () => {
    await using project = elsewhere()
    const file = put(project, 'mersal.config.mjs')
    chmodSync(project.folder, 0o1777)
    await refused(
      project,
      /everybody may write to \/.*; if it is yours, name it: --config \/.*mersal\.config\.mjs/,
    )
    expect(await project.mersal(['migrate', '--config', file], env)).toMatchObject({ code: 0 })
    expect(statSync(project.file('it-ran')).size).toBe(0)
  })

  test('when everybody may write to the file itself', async () => {
    await using project = elsewhere()
    chmodSync(put(project, 'mersal.config.mjs'), 0o666)
    await refused(project, /everybody may write to/)
  })

  test.runIf(isRoot)('when it belongs to another user, also if the folder is ours', async () => {
    await using project = elsewhere()
    chownSync(put(project, 'mersal.config.mjs'), NOBODY, NOBODY)
    await refused(project, /belongs to another user \(uid 65534\)/)
  })

  test.runIf(isRoot)(
    'when the folder belongs to another user, who may put anything there',
    async () => {
      await using project = elsewhere()
      put(project, 'mersal.config.mjs')
      chownSync(project.folder, NOBODY, NOBODY)
      await refused(project, /belongs to another user/)
    },
  )

  test.runIf(isRoot)('when another user has made the link that leads to it', async () => {
    await using project = elsewhere()
    put(project, 'mine.mjs')
    symlinkSync('mine.mjs', project.file('mersal.config.mjs'))
    lchownSync(project.file('mersal.config.mjs'), NOBODY, NOBODY)
    await refused(project, /belongs to another user/)
  })

  test('when it lies above the root of the project, or of a folder that is in no project', async () => {
    await using project = elsewhere()
    put(project, 'mersal.config.mjs', 'throw new Error("run from above")')
    for (const [folder, mark] of [
      ['plain', undefined],
      ['package', 'package.json'],
      ['repository', '.git'],
    ] as const) {
      mkdirSync(project.file(`${folder}/deep`), { recursive: true })
      if (mark !== undefined) writeFileSync(project.file(`${folder}/${mark}`), '{}')
      await using inner = openProject(undefined, project.file(`${folder}/deep`))
      expect(await inner.mersal(['migrate'], env)).toMatchObject({ code: 0, stderr: '' })
      expect(statSync(inner.file('env.db')).isFile()).toBe(true)
    }
  })

  test.runIf(isRoot)('nor is a client that another user has put above the folder', async () => {
    await using project = elsewhere()
    mkdirSync(project.file('node_modules/pg'), { recursive: true })
    put(
      project,
      'node_modules/pg/package.json',
      '{ "name": "pg", "version": "8.0.0", "main": "index.js" }',
    )
    const index = put(
      project,
      'node_modules/pg/index.js',
      `require('node:fs').writeFileSync('it-ran', '')`,
    )
    chownSync(index, NOBODY, NOBODY)
    mkdirSync(project.file('work'))
    await using inner = openProject(undefined, project.file('work'))
    const ended = await inner.mersal(['status'], { DATABASE_URL: 'postgres://127.0.0.1:1/x' })
    expect(ended).toMatchObject({
      code: 1,
      stderr: expect.stringContaining("the package 'pg' was found and not run") as string,
    })
    expect(() => statSync(inner.file('it-ran'))).toThrow('ENOENT')
  })
})

test('a configuration in a folder above is run, as far up as the root of the project', {
  timeout: 240_000,
}, async () => {
  await using project = elsewhere()
  put(project, 'mersal.config.mjs')
  put(project, 'package.json', '{}')
  mkdirSync(join(project.folder, 'src/deep'), { recursive: true })
  await using inner = openProject(undefined, project.file('src/deep'))
  expect(await inner.mersal(['migrate'])).toMatchObject({ code: 0 })
  expect(statSync(inner.file('it-ran')).isFile()).toBe(true)
})
