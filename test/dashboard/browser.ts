import { existsSync, mkdirSync, readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { join } from 'node:path'
import { isPresent } from '../../scripts/servers/present.ts'
import { root } from '../projects/package.ts'
import { toolsOf } from '../projects/tools.ts'

/** The part of Playwright that is used here; it is no dependency of ours. */
export interface Page {
  goto(url: string): Promise<unknown>
  setDefaultTimeout(ms: number): void
  click(selector: string): Promise<void>
  fill(selector: string, text: string): Promise<void>
  check(selector: string): Promise<void>
  selectOption(selector: string, value: string): Promise<unknown>
  waitForSelector(
    selector: string,
    options?: { readonly state?: 'detached' | 'attached' },
  ): Promise<unknown>
  innerText(selector: string): Promise<string>
  inputValue(selector: string): Promise<string>
  locator(selector: string): { count(): Promise<number> }
  evaluate<Result>(expression: string): Promise<Result>
  screenshot(options: { readonly path: string; readonly fullPage?: boolean }): Promise<unknown>
  setViewportSize(size: { readonly width: number; readonly height: number }): Promise<void>
  emulateMedia(options: { readonly colorScheme: 'light' | 'dark' }): Promise<void>
  on(event: 'console', listener: (message: { type(): string; text(): string }) => void): unknown
  on(event: 'pageerror', listener: (error: Error) => void): unknown
  on(event: 'dialog', listener: () => void): unknown
  on(event: 'request', listener: (request: { url(): string }) => void): unknown
  url(): string
  frames(): readonly { url(): string }[]
  readonly keyboard: { press(key: string): Promise<void>; type(text: string): Promise<void> }
  reload(): Promise<unknown>
  close(): Promise<void>
}

export interface Browser {
  newPage(options?: {
    readonly viewport?: { readonly width: number; readonly height: number }
    readonly deviceScaleFactor?: number
  }): Promise<Page>
  close(): Promise<void>
}

const places = ['/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome']
const chromium = places.find((path) => existsSync(path))

/** The tools of the page, and Chromium. Undefined: not here, which is said aloud. */
export const tools: string | undefined = toolsOf('ui', join(root, 'ui'))

/** Whether the page can be tried. Where it is required, what is missing is a failure. */
export function browserIsHere(): boolean {
  const problem =
    chromium === undefined
      ? `NO CHROMIUM (apt-get install chromium): it is none of ${places.join(', ')}`
      : undefined
  const required = process.env['MERSAL_TEST_REQUIRE_CHROMIUM'] === 'true'
  return isPresent(problem, required) && tools !== undefined
}

export async function openBrowser(): Promise<Browser> {
  const from = createRequire(join(tools!, 'package.json'))
  const { chromium: type } = from('playwright-core') as {
    readonly chromium: { launch(options: object): Promise<Browser> }
  }
  const args = ['--no-sandbox', '--disable-dev-shm-usage', '--disable-gpu']
  return await type.launch({ executablePath: chromium, args })
}

interface Violation {
  readonly id: string
  readonly nodes: readonly { readonly target: readonly string[]; readonly failureSummary: string }[]
}

/** What axe finds on the page, as lines. */
export async function axe(page: Page): Promise<readonly string[]> {
  const source = readFileSync(
    createRequire(join(tools!, 'package.json')).resolve('axe-core/axe.min.js'),
    'utf8',
  )
  // By the debugger, which the policy of the page does not bind.
  await page.evaluate(`${source};0`)
  const { violations } = await page.evaluate<{ violations: readonly Violation[] }>('axe.run()')
  return violations.flatMap(({ id, nodes }) =>
    nodes.map(({ target, failureSummary }) => `${id}: ${target.join(' ')}: ${failureSummary}`),
  )
}

/** Where screenshots are put, for people to look at. */
export function shotPath(name: string): string {
  const folder = join(root, '.tmp/dashboard')
  mkdirSync(folder, { recursive: true })
  return join(folder, `${name}.png`)
}

export interface Watched {
  readonly page: Page
  /** What has gone wrong in it: errors, dialogs, and whatever it asked elsewhere for. */
  readonly troubles: readonly string[]
}

/** A page that is watched. `expected`: errors that the test causes. */
export async function openPage(
  browser: Browser,
  address: string,
  { width = 1280, height = 900, expected = /^$/ } = {},
): Promise<Watched> {
  const page = await browser.newPage({ viewport: { width, height } })
  page.setDefaultTimeout(60_000)
  const troubles: string[] = []
  const note = (text: string): void => void (expected.test(text) || troubles.push(text))
  page.on('console', (message) => message.type() === 'error' && note(message.text()))
  page.on('pageerror', (error) => note(String(error)))
  page.on('dialog', () => note('a dialog has opened'))
  page.on('request', (request) => {
    if (new URL(request.url()).origin !== new URL(address).origin) note(request.url())
  })
  await page.goto(address)
  return { page, troubles }
}
