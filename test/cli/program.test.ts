import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { manifest } from '../../src/cli/doctor/manifest.ts'
import { verbs } from '../../src/cli/verbs.ts'
import { root } from '../house/sources.ts'
import { openProject, sourceUrl, sqliteConfig } from './project.ts'

describe('the program mersal', { timeout: 240_000 }, () => {
  test('shows its help, and 2 when it was asked for nothing', async () => {
    await using project = openProject()
    const asked = await project.mersal(['--help'])
    expect(asked.code).toBe(0)
    for (const name of Object.keys(verbs))
      expect(asked.stdout).toMatch(new RegExp(`^  ${name} +\\S`, 'm'))
    expect(await project.mersal([])).toMatchObject({ code: 2, stdout: asked.stdout })
    expect(await project.mersal(['--version'])).toMatchObject({
      code: 0,
      stdout: `${manifest().version}\n`,
    })
  })

  test.each(Object.keys(verbs))(
    'shows the help of %s, with every option and without loading a configuration',
    async (name) => {
      await using project = openProject('throw new Error("loaded")')
      const verb = await verbs[name]!()
      const { code, stdout } = await project.mersal([name, '--help'])
      expect(code).toBe(0)
      for (const option of [...Object.keys(verb.options), 'config', 'env', 'help'])
        expect(stdout).toMatch(new RegExp(`--${option}\\b.* \\S`))
      for (const line of stdout.split('\n')) expect(line.length).toBeLessThanOrEqual(140)
      expect(await project.mersal(['help', name])).toMatchObject({ code: 0, stdout })
    },
  )

  test('is described in docs/cli.md, with every verb, option and action', async () => {
    const page = readFileSync(join(root, 'docs/cli.md'), 'utf8')
    for (const [name, load] of Object.entries(verbs)) {
      const { options, actions = [] } = await load()
      expect(page).toMatch(new RegExp(`^## .*\\bmersal ${name}\\b`, 'm'))
      for (const option of Object.keys(options))
        expect(page, `--${option} of ${name}`).toContain(`--${option}`)
      for (const action of actions)
        expect(page, `${name} ${action}`).toMatch(
          new RegExp(`mersal ${name} [^\\n]*\\b${action}\\b`),
        )
    }
  })

  test.each([
    [['statsu'], "there is no verb 'statsu'; did you mean 'mersal status'?"],
    [['frobnicate'], "'mersal --help' lists them"],
    [['--env', '.env', 'status'], 'options stand behind the verb: mersal VERB --env'],
    [['status', '--jsno'], 'there is no option --jsno; did you mean --json?'],
    [['status', '--json=yes'], '--json takes no value'],
    [['status', '--keys'], '--keys needs a value: --keys N'],
    [['status', '--keys', '--json'], '--keys needs a value'],
    [['status', '--keys', 'ten'], '--keys: expected a whole number from 0 to 1000'],
    [['status', '--keys', '1', '--keys', '2'], '--keys is given twice'],
    [['status', 'extra'], "'extra' is too much"],
    [['dead'], 'say what to do: mersal dead list|show|retry|discard'],
    [['dead', 'lst'], "did you mean 'list'?"],
    [['dead', 'show'], 'name one dead letter'],
    [['dead', 'retry'], 'name dead letters, or give --all'],
    [['dead', 'retry', '1', '--type', 'x'], 'a filter goes with --all'],
    [['migrate', '--check', '--print'], 'give either --check or --print'],
    [['relay', '--port', '70000'], 'expected a whole number from 0 to 65535'],
  ])('%j is a mistake of usage, and it says which', async (args, text) => {
    await using project = openProject('throw new Error("loaded")')
    const { code, stderr } = await project.mersal(args)
    expect([code, stderr]).toEqual([2, expect.stringContaining(text)])
  })

  test('finds the configuration above the folder, or where it is told, and says what is wrong with it', async () => {
    await using project = openProject(
      sqliteConfig().replaceAll("'store.db'", "new URL('store.db', import.meta.url).pathname"),
    )
    const { mkdirSync } = await import('node:fs')
    mkdirSync(project.file('deep/er'), { recursive: true })
    await project.mersal(['migrate'])
    project.write('other.mjs', `export default 1`)
    expect(await project.mersal(['status', '--quick'])).toMatchObject({ code: 0 })
    expect(await project.mersal(['status', '-c', 'mersal.config.ts', '--quick'])).toMatchObject({
      code: 0,
    })
    expect(await project.mersal(['status', '-c', 'other.mjs'])).toMatchObject({
      code: 1,
      stderr: expect.stringContaining('expected an object with options') as string,
    })
    expect(await project.mersal(['status', '-c', 'none.mjs'])).toMatchObject({
      code: 1,
      stderr: expect.stringContaining('there is no file') as string,
    })
    project.write(
      'other.mjs',
      `import { defineConfig } from '${sourceUrl('cli/index.ts')}'\nexport default defineConfig({ stroe: 1 })`,
    )
    expect(await project.mersal(['status', '-c', 'other.mjs'])).toMatchObject({
      code: 1,
      stderr: expect.stringContaining("did you mean 'store'?") as string,
    })
    project.write('other.mjs', `import 'no-such-package'`)
    expect(await project.mersal(['status', '-c', 'other.mjs'])).toMatchObject({
      code: 1,
      stderr: expect.stringContaining('install what it imports') as string,
    })
  })

  test('reads variables from a file that it is given', async () => {
    await using project = openProject()
    project.write('.env', 'DATABASE_URL=sqlite:from-env.db\n')
    expect(await project.mersal(['migrate'])).toMatchObject({
      code: 1,
      stderr: expect.stringContaining('DATABASE_URL is not set') as string,
    })
    expect(await project.mersal(['migrate', '--env', '.env'])).toMatchObject({ code: 0 })
    expect(
      await project.mersal(['migrate', '--check'], { DATABASE_URL: 'sqlite:from-env.db' }),
    ).toMatchObject({ code: 0 })
    expect(await project.mersal(['migrate', '--env', 'none'])).toMatchObject({ code: 1 })
  })

  test('says which verb a store does not support', async () => {
    await using project = openProject(
      sqliteConfig()
        .replace('store: sqlite({', 'store: bare({')
        .replace(
          'export default',
          'const bare = (options: never) => ({ ...(sqlite(options) as object), operations: undefined }) as never\nexport default',
        ),
    )
    for (const args of [
      ['status'],
      ['pause', 'key', 'k'],
      ['resume', 'key', 'k'],
      ['replay', '--all'],
      ['migrate'],
    ]) {
      expect(await project.mersal(args)).toMatchObject({
        code: 1,
        stderr: `mersal: the store 'sqlite' does not support 'mersal ${args[0]!}'\n`,
      })
    }
    expect(await project.mersal(['dead', 'list'])).toMatchObject({ code: 0 })
  })
})
