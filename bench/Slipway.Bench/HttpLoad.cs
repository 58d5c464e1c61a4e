using System.Buffers.Text;
using System.Diagnostics;
using System.Globalization;
using System.Net.Sockets;
using System.Text;

namespace Slipway.Bench;

/// <summary>One HTTP/1.1 connection that stays open: what a client costs here should not hide what the server costs.</summary>
internal sealed class HttpConnection : IDisposable
{
    private readonly Uri _server;
    private readonly Socket _socket;
    private byte[] _buffer = new byte[64 * 1024];
    private int _start;
    private int _end;

    private HttpConnection(Uri server, Socket socket)
    {
        _server = server;
        _socket = socket;
    }

    public static async Task<HttpConnection> OpenAsync(Uri server)
    {
        var socket = new Socket(SocketType.Stream, ProtocolType.Tcp) { NoDelay = true };
        await socket.ConnectAsync(server.Host, server.Port);
        return new HttpConnection(server, socket);
    }

    /// <summary>The bytes of a request, so that a loop may send them again and again.</summary>
    public static byte[] Request(Uri server, string path, string? json)
    {
        var token = Environment.GetEnvironmentVariable("MLFLOW_TRACKING_TOKEN");
        var authorization = string.IsNullOrEmpty(token) ? "" : $"Authorization: Bearer {token}\r\n";
        return Encoding.UTF8.GetBytes(json is null
            ? $"GET {path} HTTP/1.1\r\nHost: {server.Authority}\r\n{authorization}\r\n"
            : $"POST {path} HTTP/1.1\r\nHost: {server.Authority}\r\n{authorization}Content-Type: application/json\r\nContent-Length: {Encoding.UTF8.GetByteCount(json).ToString(CultureInfo.InvariantCulture)}\r\n\r\n{json}");
    }

    /// <summary>Sends one request and reads the whole answer.</summary>
    /// <param name="request">From <see cref="Request"/>.</param>
    /// <param name="keep">Receives the body; null to throw it away.</param>
    /// <returns>The status.</returns>
    public async Task<int> SendAsync(ReadOnlyMemory<byte> request, MemoryStream? keep = null)
    {
        while (request.Length > 0)
        {
            request = request[await _socket.SendAsync(request)..];
        }

        var header = await LineEndAsync("\r\n\r\n"u8.ToArray());
        var text = Encoding.ASCII.GetString(_buffer, _start, header - _start);
        _start = header;
        var status = int.Parse(text.AsSpan(9, 3), CultureInfo.InvariantCulture);
        if (Field(text, "\r\ncontent-length:") is { } length)
        {
            await TakeAsync(long.Parse(length, CultureInfo.InvariantCulture), keep);
        }
        else if (Field(text, "\r\ntransfer-encoding:") is not null)
        {
            while (true)
            {
                var end = await LineEndAsync("\r\n"u8.ToArray());
                _ = Utf8Parser.TryParse(_buffer.AsSpan(_start, end - _start), out int size, out _, 'x');
                _start = end;
                await TakeAsync(size, keep);
                await TakeAsync(2, null);
                if (size == 0)
                {
                    break;
                }
            }
        }

        return status;
    }

    /// <summary>Sends and gives the body of a success as text.</summary>
    public async Task<string> AskAsync(string path, string? json = null)
    {
        var body = new MemoryStream();
        var status = await SendAsync(Request(_server, path, json), body);
        var text = Encoding.UTF8.GetString(body.ToArray());
        return status == 200 ? text : throw new HttpRequestException($"{path} answered {status}: {text[..Math.Min(400, text.Length)]}", null, (System.Net.HttpStatusCode)status);
    }

    public void Dispose() => _socket.Dispose();

    private static string? Field(string header, string name)
    {
        var at = header.IndexOf(name, StringComparison.OrdinalIgnoreCase);
        return at < 0 ? null : header[(at + name.Length)..header.IndexOf("\r\n", at + 2, StringComparison.Ordinal)].Trim();
    }

    private async Task<int> LineEndAsync(byte[] mark)
    {
        while (true)
        {
            var at = _buffer.AsSpan(_start, _end - _start).IndexOf(mark);
            if (at >= 0)
            {
                return _start + at + mark.Length;
            }

            await ReceiveAsync();
        }
    }

    private async Task TakeAsync(long count, MemoryStream? keep)
    {
        while (count > 0)
        {
            if (_start == _end)
            {
                await ReceiveAsync();
            }

            var part = (int)Math.Min(count, _end - _start);
            keep?.Write(_buffer, _start, part);
            _start += part;
            count -= part;
        }
    }

    private async Task ReceiveAsync()
    {
        if (_start == _end)
        {
            _start = _end = 0;
        }
        else if (_end == _buffer.Length)
        {
            _buffer.AsSpan(_start, _end - _start).CopyTo(_buffer);
            (_start, _end) = (0, _end - _start);
            if (_end == _buffer.Length)
            {
                Array.Resize(ref _buffer, _buffer.Length * 2);
            }
        }

        var received = await _socket.ReceiveAsync(_buffer.AsMemory(_end));
        _end += received > 0 ? received : throw new IOException($"{_server} closed the connection in the middle of an answer.");
    }
}

/// <summary>What one load of one server came to.</summary>
/// <param name="Requests">Answered with 200.</param>
/// <param name="PerSecond">Answered per second.</param>
/// <param name="CpuMs">Processor time of the server per request, user and system.</param>
/// <param name="DatabaseCpuMs">Processor time of PostgreSQL's processes per request, counted apart.</param>
internal sealed record TrackingLoad(long Requests, double PerSecond, double CpuMs, double DatabaseCpuMs);

/// <summary>Several connections, each with one request under way.</summary>
internal static class HttpLoad
{
    public static async Task<TrackingLoad> RunAsync(ServerUnderLoad server, Func<int, long, byte[]> request, int connections, double seconds)
    {
        var before = server.CpuMs();
        var watch = Stopwatch.StartNew();
        long requests = 0;
        await Task.WhenAll(Enumerable.Range(0, connections).Select(connection => Task.Run(async () =>
        {
            using var http = await HttpConnection.OpenAsync(server.Address);
            for (long i = 0; i == 0 || watch.Elapsed.TotalSeconds < seconds; i++)
            {
                var bytes = request(connection, i);
                var status = await http.SendAsync(bytes);
                if (status != 200)
                {
                    throw new HttpRequestException($"{server.Address} answered {status} to {Encoding.UTF8.GetString(bytes.AsSpan(0, Math.Min(bytes.Length, 200)))}", null, (System.Net.HttpStatusCode)status);
                }

                Interlocked.Increment(ref requests);
            }
        })));
        var elapsed = watch.Elapsed.TotalSeconds;
        var after = server.CpuMs();
        return new TrackingLoad(requests, requests / elapsed, (after.Server - before.Server) / requests, (after.Database - before.Database) / requests);
    }
}
