import { existsSync, mkdirSync, readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
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
  waitForSelector(selector: string, options?: { readonly state?: 'detached' }): Promise<unknown>
  textContent(selector: string): Promise<string | null>
  innerText(selector: string): Promise<string>
  evaluate<Result>(expression: string): Promise<Result>
  screenshot(options: { readonly path: string; readonly fullPage?: boolean }): Promise<unknown>
  setViewportSize(size: { readonly width: number; readonly height: number }): Promise<void>
  emulateMedia(options: { readonly colorScheme: 'light' | 'dark' }): Promise<void>
  on(event: 'console', listener: (message: { type(): string; text(): string }) => void): unknown
  on(event: 'pageerror', listener: (error: Error) => void): unknown
  on(event: 'dialog', listener: () => void): unknown
  on(event: 'request', listener: (request: { url(): string }) => void): unknown
  url(): string
  readonly keyboard: { press(key: string): Promise<void> }
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

/** Whether the page can be tried. With `CI=true` what is missing is a failure. */
export function browserIsHere(): boolean {
  if (chromium !== undefined && tools !== undefined) return true
  if (chromium === undefined) {
    const text = 'NO CHROMIUM: the pages of the dashboard are not tried. apt-get install chromium'
    if (process.env['CI'] === 'true') throw new Error(text)
    process.stderr.write(`\n*** ${text} ***\n`)
  }
  return false
}

export async function openBrowser(): Promise<Browser> {
  const from = createRequire(join(tools!, 'package.json'))
  const { chromium: type } = (await import(
    pathToFileURL(from.resolve('playwright-core')).href
  )) as { chromium: { launch(options: object): Promise<Browser> } }
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
