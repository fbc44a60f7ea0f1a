import { render, type VNode } from 'preact'
import { useEffect, useRef, useState } from 'preact/hooks'
import './app.css'
import { type ApiError, get, type Me, token } from './api.ts'
import { asApiError, type LiveState, useLive } from './live.ts'
import { Notice, type Tone } from './parts/basics.tsx'
import { DeadPage } from './pages/dead.tsx'
import { LetterPage } from './pages/letter.tsx'
import { OutboxPage } from './pages/outbox.tsx'
import { OverviewPage } from './pages/overview.tsx'
import { PausesPage } from './pages/pauses.tsx'
import { SagaPage, SagasPage } from './pages/sagas.tsx'
import { WayPage } from './pages/way.tsx'
import { linkTo, type Place, usePlace } from './router.ts'

const pages = [
  ['overview', 'Overview'],
  ['outbox', 'Outbox'],
  ['dead', 'Dead letters'],
  ['pauses', 'Pauses'],
  ['sagas', 'Sagas'],
  ['way', 'Way of a message'],
] as const

/** The token of the link is kept for this tab only, and leaves the address. */
function takeToken(): void {
  const found = /^#token=([^&]+)$/.exec(location.hash)?.[1]
  if (found === undefined) return
  token.write(decodeURIComponent(found))
  history.replaceState(null, '', `${location.pathname}${location.search}#/overview`)
}

function App(): VNode {
  const [me, setMe] = useState<Me>()
  const [error, setError] = useState<ApiError>()
  const [turn, setTurn] = useState(0)
  useEffect(() => {
    const ask = (): void =>
      void get<Me>('me').then(
        (found) => {
          setError(undefined)
          setMe(found)
        },
        (thrown: unknown) => setError(asApiError(thrown)),
      )
    ask()
  }, [turn])
  const lost = (given: ApiError): void => {
    setMe(undefined)
    setError(given)
  }
  if (me !== undefined) return <Frame me={me} lost={lost} />
  if (error === undefined)
    return (
      <main class="alone">
        <p class="quiet">Looking …</p>
      </main>
    )
  return <Door error={error} again={() => setTurn((before) => before + 1)} />
}

/** For whoever is not in. */
function Door({ error, again }: { error: ApiError; again: () => void }): VNode {
  return (
    <main class="alone">
      <h1>Mersal</h1>
      {error.code === 'no-token' ? (
        <form
          class="panel fields"
          onSubmit={(event) => {
            event.preventDefault()
            token.write(String(new FormData(event.currentTarget).get('token')).trim())
            again()
          }}
        >
          {token.read() === null ? null : <Notice tone="bad" title="This is not the token." />}
          <label class="field wide">
            <span>Token</span>
            <input name="token" type="password" required autoComplete="off" />
          </label>
          <button type="submit" class="primary">
            Come in
          </button>
        </form>
      ) : (
        <Notice tone="bad" title={error.message}>
          <button type="button" onClick={again}>
            Try again
          </button>
        </Notice>
      )}
    </main>
  )
}

function Frame({ me, lost }: { me: Me; lost: (error: ApiError) => void }): VNode {
  const place = usePlace()
  const live = useLive((error) => {
    if (error.status === 401) token.forget()
    lost(error)
  })
  const heading = useRef<HTMLHeadingElement>(null)
  const first = useRef(true)
  const [group = ''] = place.page.split('/')
  const title = pages.find(([page]) => page === group)?.[1] ?? 'Not here'
  useEffect(() => {
    document.title = `${title} · Mersal`
    // Whoever reads with ears is told of the new page.
    if (!first.current) heading.current?.focus()
    first.current = false
  }, [place.page])
  return (
    <div class="frame">
      <aside>
        <a
          class="skip"
          href={location.hash}
          onClick={(event) => {
            event.preventDefault()
            heading.current?.focus()
          }}
        >
          Skip to the page
        </a>
        <div class="brand">
          <img src="./icon.svg" alt="" width="28" height="28" /> Mersal
        </div>
        <nav aria-label="Pages of the dashboard">
          {pages.map(([page, name]) => (
            <a key={page} href={linkTo(page)} aria-current={page === group ? 'page' : undefined}>
              {name}
            </a>
          ))}
        </nav>
        <div class="aside-foot">
          <LinkState live={live} />
          <Rights rights={me.rights} />
          <Theme />
        </div>
      </aside>
      <main>
        <h1 ref={heading} tabIndex={-1}>
          {title}
        </h1>
        {live.link === 'away' && live.overview !== undefined ? (
          <Notice tone="bad" title={live.error?.message ?? 'The dashboard does not answer.'}>
            The page shows what it knew, and tries again by itself.
          </Notice>
        ) : null}
        <Page place={place} live={live} me={me} />
      </main>
    </div>
  )
}

function Page({ place, live, me }: { place: Place; live: LiveState; me: Me }): VNode {
  switch (place.page) {
    case 'overview':
      return <OverviewPage live={live} />
    case 'outbox':
      return <OutboxPage live={live} place={place} />
    case 'dead':
      return <DeadPage live={live} place={place} rights={me.rights} />
    case 'dead/letter':
      return <LetterPage place={place} rights={me.rights} />
    case 'pauses':
      return <PausesPage live={live} place={place} may={me.rights.includes('pause')} />
    case 'sagas':
      return <SagasPage live={live} place={place} />
    case 'sagas/instance':
      return <SagaPage place={place} />
    case 'way':
      return <WayPage place={place} />
    default:
      return (
        <Notice tone="warn" title="There is no such page.">
          <a href={linkTo('overview')}>Overview</a>
        </Notice>
      )
  }
}

const links: Readonly<Record<LiveState['link'], readonly [Tone, string]>> = {
  connecting: ['calm', 'connecting'],
  live: ['good', 'live'],
  polling: ['info', 'asking every 10 s'],
  away: ['bad', 'not connected'],
}

function LinkState({ live }: { live: LiveState }): VNode {
  const [tone, words] = links[live.link]
  return (
    <div class={`link-state ${tone}`} role="status">
      <span class="dot" /> {words}
    </div>
  )
}

function Rights({ rights }: { rights: readonly string[] }): VNode {
  return <div class="quiet">{rights.length === 0 ? 'read-only' : `may: ${rights.join(', ')}`}</div>
}

const THEME = 'mersal-theme'

function Theme(): VNode {
  const [theme, setTheme] = useState(localStorage.getItem(THEME) ?? 'system')
  useEffect(() => {
    if (theme === 'system') delete document.documentElement.dataset['theme']
    else document.documentElement.dataset['theme'] = theme
    localStorage.setItem(THEME, theme)
  }, [theme])
  return (
    <label class="theme">
      <span>Colours</span>
      <select value={theme} onChange={(event) => setTheme(event.currentTarget.value)}>
        <option value="system">as the system</option>
        <option value="light">light</option>
        <option value="dark">dark</option>
      </select>
    </label>
  )
}

takeToken()
render(<App />, document.getElementById('app')!)
