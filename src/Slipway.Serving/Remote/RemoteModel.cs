using System.Globalization;
using System.Net;
using System.Net.Http.Headers;
using Microsoft.AspNetCore.Http;
using Slipway.Contracts.Registry;
using Slipway.Contracts.Serving;
using Slipway.Registry.Formats;
using Slipway.Serving.Protocol;

namespace Slipway.Serving.Remote;

/// <summary>A version that another server runs. Its answers are checked against the signature like a caller's request: that server may be anybody's.</summary>
/// <remarks>
/// Only a request that was not sent is sent again, once: a connection that was refused or closed before. Whether a server has run what it answered with
/// an error, or not at all, cannot be known.
/// </remarks>
internal sealed class RemoteModel : TensorModel
{
    private const int SentenceMax = 300;

    private readonly RemoteModelFile _file;
    private readonly string? _token;
    private readonly HttpClient _http;
    private readonly CircuitBreaker _breaker;

    /// <param name="file">What the version's file says.</param>
    /// <param name="token">Proves who asks; null for nothing.</param>
    /// <param name="http">Bounds answers, follows no redirects and has no time limit of its own.</param>
    /// <param name="clock">The breaker's.</param>
    public RemoteModel(RemoteModelFile file, string? token, HttpClient http, TimeProvider clock)
        : base([.. file.Signature.Inputs.Select(field => new Input(Tensor(field), []))], [.. file.Signature.Outputs.Select(Tensor)])
    {
        (_file, _token, _http) = (file, token, http);
        _breaker = new CircuitBreaker(clock);
    }

    internal override bool Waits => true;

    internal override void Run(TensorRequest request, List<AnswerTensor> answer) => RunAsync(request, answer, CancellationToken.None).GetAwaiter().GetResult();

    /// <exception cref="BackendException">There is no answer, or none that fits.</exception>
    internal override async Task RunAsync(TensorRequest request, List<AnswerTensor> answer, CancellationToken cancellationToken)
    {
        // Not sent, it says nothing of the server.
        if (_file.Protocol == RemoteProtocol.V2 && !_file.Binary && !request.IsFinite)
        {
            throw new BackendException(StatusCodes.Status400BadRequest, "the inputs hold a value that is not a finite number, which goes to that server as bytes only ('binary: true' in the model's file)");
        }

        if (!_breaker.TryEnter(out var wait, out var isTrial))
        {
            throw new BackendException(StatusCodes.Status503ServiceUnavailable,
                $"its server failed {CircuitBreaker.FailuresMax} times in a row and is not asked for {wait.TotalSeconds:0} s", (int)Math.Ceiling(wait.TotalSeconds), null, _file.Url.Authority);
        }

        using var limit = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        limit.CancelAfter(_file.Timeout);
        try
        {
            var outputs = _file.Protocol switch
            {
                RemoteProtocol.V2 => await AskV2Async(request, limit.Token),
                RemoteProtocol.Mlflow => await AskMlflowAsync(request, limit.Token),
                _ => await AskOpenAiAsync(request, limit.Token),
            };
            Take(request, outputs, answer);
            _breaker.Succeed(isTrial);
        }
        catch (BackendException e) when (e.Status == StatusCodes.Status400BadRequest)
        {
            _breaker.Succeed(isTrial); // It answers; what was asked is another matter.
            throw;
        }
        catch (OperationCanceledException) when (cancellationToken.IsCancellationRequested)
        {
            _breaker.Abandon(isTrial);
            throw;
        }
        catch (OperationCanceledException e)
        {
            _breaker.Fail(isTrial);
            throw new BackendException(StatusCodes.Status504GatewayTimeout, string.Create(CultureInfo.InvariantCulture, $"its server gave no answer in {_file.Timeout.TotalMilliseconds:0} ms"), 0, e, _file.Url.Authority);
        }
        catch (Exception e) when (e is HttpRequestException or IOException)
        {
            _breaker.Fail(isTrial);
            throw new BackendException(StatusCodes.Status502BadGateway, e is HttpRequestException { HttpRequestError: HttpRequestError.ConfigurationLimitExceeded }
                ? "its server answers more bytes than are read" : "its server cannot be reached", 0, e, _file.Url.Authority);
        }
        catch
        {
            _breaker.Fail(isTrial);
            throw;
        }
    }

    private async Task<IReadOnlyList<RequestTensor>> AskV2Async(TensorRequest request, CancellationToken cancellationToken)
    {
        var (body, jsonLength) = RemoteMessages.WriteV2(request, _file.Binary);
        var path = $"v2/models/{Uri.EscapeDataString(_file.Model!)}{(_file.Version is { } version ? $"/versions/{Uri.EscapeDataString(version)}" : "")}/infer";
        var (bytes, header) = await SendAsync(path, body, jsonLength, cancellationToken);
        return RemoteMessages.ReadV2(bytes, header) ?? throw Garbage("its answer is no Open Inference answer");
    }

    private async Task<IReadOnlyList<RequestTensor>> AskMlflowAsync(TensorRequest request, CancellationToken cancellationToken)
    {
        var (bytes, _) = await SendAsync("invocations", RemoteMessages.WriteMlflow(request, _file.Columns), null, cancellationToken);
        var rows = request.Inputs is [{ Shape: [var first, ..] }, ..] ? first : 1;
        return RemoteMessages.ReadMlflow(bytes, Outputs, rows, out var fault) ?? throw Garbage(fault);
    }

    // One text, one call: there is no other form of several.
    private async Task<IReadOnlyList<RequestTensor>> AskOpenAiAsync(TensorRequest request, CancellationToken cancellationToken)
    {
        var answers = new List<string>();
        foreach (var text in RemoteMessages.Texts(request.Inputs[0].Data))
        {
            var (bytes, _) = await SendAsync("v1/chat/completions", RemoteMessages.WriteChat(_file, text), null, cancellationToken);
            answers.Add(RemoteMessages.ReadChat(bytes) ?? throw Garbage("its answer holds no choices[0].message.content"));
        }

        return [new RequestTensor(Outputs[0].Name, Datatype.BYTES, [answers.Count], RemoteMessages.Bytes(answers))];
    }

    private async Task<(byte[] Bytes, long? JsonLength)> SendAsync(string path, byte[] body, int? jsonLength, CancellationToken cancellationToken)
    {
        for (var attempt = 0; ; attempt++)
        {
            using var message = new HttpRequestMessage(HttpMethod.Post, new Uri(_file.Url, path)) { Content = new ByteArrayContent(body) };
            message.Content.Headers.ContentType = new MediaTypeHeaderValue(jsonLength is null ? "application/json" : "application/octet-stream");
            if (jsonLength is { } length)
            {
                message.Headers.Add(InferHandler.HeaderLengthName, length.ToString(CultureInfo.InvariantCulture));
            }

            if (_token is not null)
            {
                message.Headers.Authorization = new AuthenticationHeaderValue("Bearer", _token);
            }

            try
            {
                using var response = await _http.SendAsync(message, cancellationToken); // With its content, up to the client's limit.
                var bytes = await response.Content.ReadAsByteArrayAsync(cancellationToken);
                if (response.IsSuccessStatusCode)
                {
                    return (bytes, response.Headers.TryGetValues(InferHandler.HeaderLengthName, out var values) && long.TryParse(values.FirstOrDefault(), NumberStyles.None, CultureInfo.InvariantCulture, out var json) ? json : null);
                }

                throw Refusal(response.StatusCode, bytes);
            }
            catch (HttpRequestException e) when (attempt == 0 && e.HttpRequestError is HttpRequestError.ConnectionError or HttpRequestError.NameResolutionError)
            {
                await Task.Delay(50, cancellationToken);
            }
        }
    }

    private BackendException Refusal(HttpStatusCode status, byte[] body)
    {
        var told = RemoteMessages.ReadError(body) is { Length: > 0 } sentence ? $": {(sentence.Length <= SentenceMax ? sentence : $"{sentence[..SentenceMax]}…")}" : "";
        return status is HttpStatusCode.BadRequest or HttpStatusCode.UnprocessableEntity
            ? new BackendException(StatusCodes.Status400BadRequest, $"its server refuses these inputs{told}", 0, null, _file.Url.Authority)
            : new BackendException(StatusCodes.Status502BadGateway, $"its server answers {(int)status}{told}", 0, null, _file.Url.Authority);
    }

    private BackendException Garbage(string why) => new(StatusCodes.Status502BadGateway, $"its server answers otherwise than its signature says: {why}", 0, null, _file.Url.Authority);

    private void Take(TensorRequest request, IReadOnlyList<RequestTensor> given, List<AnswerTensor> answer)
    {
        answer.Clear();
        foreach (var (name, binary) in request.Outputs.Count == 0 ? Outputs.Select(output => (output.Name, (bool?)null)) : request.Outputs.Select(output => (output.Name, output.Binary)))
        {
            var tensor = given.FirstOrDefault(tensor => tensor.Name == name) ?? throw Garbage($"it has no output '{name}'");
            var declared = Outputs.First(output => output.Name == name);
            if (tensor.Datatype.Name() != declared.Datatype || tensor.Shape.Length != declared.Shape.Count || tensor.Shape.Zip(declared.Shape).Any(pair => pair.Second >= 0 && pair.First != pair.Second))
            {
                throw Garbage($"'{name}' is {tensor.Datatype.Name()} {TensorReader.Shown(tensor.Shape)} instead of {declared.Datatype} {TensorReader.Shown(declared.Shape)}");
            }

            answer.Add(new AnswerTensor(name, tensor.Datatype, tensor.Shape, tensor.Data.ToArray(), binary));
        }
    }

    private static ContractTensor Tensor(SignatureField field) => new(field.Name, field.Type, field.Shape);
}
